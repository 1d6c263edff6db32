//! libvirt's C calls, each made safe here; with `unsafe` nowhere else. Blocking: call from a thread of their own.
//!
//! Over virt-sys and not the crate `virt`: of that one, 0.5 pins an old libc for the whole workspace, its `state()`
//! drops errors, its `job_stats()` makes a Vec of a null pointer, and a failed free panics.
#![allow(unsafe_code, reason = "libvirt is a C library; nothing outside this file calls it")]

use std::{
    ffi::{CStr, CString, c_char, c_int, c_uint, c_void},
    ptr::{self, NonNull},
    slice,
    sync::Once,
};

use virt_sys as sys;

use super::said::{Access, BlockJob, Number, Refused, Snapshot, Which};

/// Whether libvirt is part of this program.
pub(super) const BUILT_IN: bool = true;

/// A connection to a hypervisor's driver; closed when dropped. libvirt counts references, so a [`Domain`] may outlive
/// it.
pub(super) struct Connection(NonNull<sys::_virConnect>);

/// A domain of a connection.
pub(super) struct Domain(NonNull<sys::_virDomain>);

impl Connection {
    /// virConnectOpen(), virConnectOpenReadOnly().
    pub(super) fn open(uri: &str, access: Access) -> Result<Self, Refused> {
        static QUIET: Once = Once::new();
        // Otherwise libvirt prints each error to stderr by itself.
        // SAFETY: `say_nothing` is a function of the type asked for, and libvirt keeps no data for it.
        QUIET.call_once(|| unsafe { sys::virSetErrorFunc(ptr::null_mut(), Some(say_nothing)) });
        let uri = text(uri)?;
        // SAFETY: `uri` is a C string that outlives the call.
        let connection = unsafe {
            match access {
                Access::ReadOnly => sys::virConnectOpenReadOnly(uri.as_ptr()),
                Access::ReadWrite => sys::virConnectOpen(uri.as_ptr()),
            }
        };
        NonNull::new(connection).map(Self).ok_or_else(refused)
    }

    /// All domains, running or not: virConnectListAllDomains().
    pub(super) fn domains(&self) -> Result<Vec<Domain>, Refused> {
        let mut list: *mut sys::virDomainPtr = ptr::null_mut();
        // SAFETY: the connection is open; libvirt stores an array of its own in `list`.
        let count = unsafe { sys::virConnectListAllDomains(self.0.as_ptr(), &raw mut list, 0) };
        // SAFETY: libvirt has filled the array with `count` domains, each a reference that is ours now.
        unsafe { taken(list, count, |domain| NonNull::new(domain).map(Domain)) }
    }

    /// virDomainLookupByUUIDString().
    pub(super) fn domain(&self, uuid: &str) -> Result<Domain, Refused> {
        let uuid = text(uuid)?;
        // SAFETY: the connection is open and `uuid` a C string that outlives the call.
        let domain = unsafe { sys::virDomainLookupByUUIDString(self.0.as_ptr(), uuid.as_ptr()) };
        NonNull::new(domain).map(Domain).ok_or_else(refused)
    }
}

impl Domain {
    /// virDomainGetName(); asks nobody.
    pub(super) fn name(&self) -> Result<String, Refused> {
        // SAFETY: the domain is referenced; the name lives as long as it and is copied here.
        unsafe { borrowed(sys::virDomainGetName(self.0.as_ptr())) }
    }

    /// virDomainGetUUIDString(); asks nobody.
    pub(super) fn uuid(&self) -> Result<String, Refused> {
        // VIR_UUID_STRING_BUFLEN, with the zero at its end.
        let mut buffer: [c_char; 37] = [0; 37];
        // SAFETY: the domain is referenced and the buffer has the length that libvirt asks for.
        done(unsafe { sys::virDomainGetUUIDString(self.0.as_ptr(), buffer.as_mut_ptr()) })?;
        // SAFETY: libvirt has written a C string into it.
        unsafe { borrowed(buffer.as_ptr()) }
    }

    /// virDomainGetState(): a virDomainState and the reason that belongs to it.
    pub(super) fn state(&self) -> Result<(c_int, c_int), Refused> {
        let (mut state, mut reason) = (0, 0);
        // SAFETY: the domain is referenced, both places are ours.
        done(unsafe { sys::virDomainGetState(self.0.as_ptr(), &raw mut state, &raw mut reason, 0) })?;
        Ok((state, reason))
    }

    /// virDomainGetXMLDesc().
    pub(super) fn xml(&self, which: Which) -> Result<String, Refused> {
        let flags = match which {
            Which::Current => 0,
            Which::Inactive => sys::VIR_DOMAIN_XML_INACTIVE,
            Which::InactiveWithSecrets => sys::VIR_DOMAIN_XML_INACTIVE | sys::VIR_DOMAIN_XML_SECURE,
        };
        // SAFETY: the domain is referenced; the text that comes back is ours to free.
        unsafe { owned(sys::virDomainGetXMLDesc(self.0.as_ptr(), flags)) }
    }

    /// virDomainIsPersistent(): its configuration outlives it.
    pub(super) fn is_persistent(&self) -> Result<bool, Refused> {
        // SAFETY: the domain is referenced.
        Ok(done(unsafe { sys::virDomainIsPersistent(self.0.as_ptr()) })? == 1)
    }

    /// virDomainGetBlockJobInfo() of a disk, by its target.
    pub(super) fn block_job(&self, target: &str) -> Result<Option<BlockJob>, Refused> {
        let target = text(target)?;
        let mut info = sys::virDomainBlockJobInfo { type_: 0, bandwidth: 0, cur: 0, end: 0 };
        // SAFETY: the domain is referenced, the name outlives the call, `info` is ours.
        let found =
            unsafe { sys::virDomainGetBlockJobInfo(self.0.as_ptr(), target.as_ptr(), &raw mut info, 0) };
        Ok((done(found)? == 1).then_some(BlockJob { kind: info.type_ }))
    }

    /// virDomainGetJobStats(): the virDomainJobType of what is under way, and the numbers beside it.
    pub(super) fn job(&self) -> Result<(c_int, Vec<Number>), Refused> {
        let (mut kind, mut count) = (0, 0);
        let mut list: sys::virTypedParameterPtr = ptr::null_mut();
        // SAFETY: the domain is referenced; libvirt stores an array of its own in `list` and its length in `count`.
        done(unsafe {
            sys::virDomainGetJobStats(self.0.as_ptr(), &raw mut kind, &raw mut list, &raw mut count, 0)
        })?;
        // SAFETY: libvirt has filled the array with `count` parameters; it is ours to free, once.
        let numbers = unsafe {
            let numbers = numbers(list, count);
            sys::virTypedParamsFree(list, count);
            numbers
        };
        Ok((kind, numbers))
    }

    /// virDomainListGetStats() of its block devices. Does not wait for a domain that is busy: then less comes back.
    pub(super) fn block_stats(&self) -> Result<Vec<Number>, Refused> {
        let mut domains = [self.0.as_ptr(), ptr::null_mut()];
        let mut records: *mut sys::virDomainStatsRecordPtr = ptr::null_mut();
        // SAFETY: the list of domains ends with a null pointer; libvirt stores an array of its own in `records`.
        let count = done(unsafe {
            sys::virDomainListGetStats(
                domains.as_mut_ptr(),
                sys::VIR_DOMAIN_STATS_BLOCK,
                &raw mut records,
                sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT,
            )
        })?;
        if records.is_null() {
            return Ok(Vec::new());
        }
        // SAFETY: libvirt has filled the array with `count` records, each with its own parameters; all of it is freed
        // here, once.
        let all = unsafe {
            let list = slice::from_raw_parts(records, usize::try_from(count).unwrap_or(0));
            let all = list.iter().filter_map(|record| record.as_ref());
            let all = all.flat_map(|record| numbers(record.params, record.nparams)).collect();
            sys::virDomainStatsRecordListFree(records);
            all
        };
        Ok(all)
    }

    /// virDomainListAllSnapshots(), each with its description.
    pub(super) fn snapshots(&self) -> Result<Vec<Snapshot>, Refused> {
        let mut list: *mut sys::virDomainSnapshotPtr = ptr::null_mut();
        // SAFETY: the domain is referenced; libvirt stores an array of its own in `list`.
        let count = unsafe { sys::virDomainListAllSnapshots(self.0.as_ptr(), &raw mut list, 0) };
        // SAFETY: libvirt has filled it with `count` snapshots, each a reference that is freed here, once.
        let described = unsafe {
            taken(list, count, |snapshot| {
                let name = borrowed(sys::virDomainSnapshotGetName(snapshot));
                let xml = owned(sys::virDomainSnapshotGetXMLDesc(snapshot, 0));
                sys::virDomainSnapshotFree(snapshot);
                Some(name.and_then(|name| Ok(Snapshot { name, xml: xml? })))
            })
        }?;
        // One that was deleted meanwhile has no description.
        Ok(described.into_iter().filter_map(Result::ok).collect())
    }

    /// virDomainGetGuestInfo() of a virDomainGuestInfoTypes.
    pub(super) fn guest_info(&self, types: c_uint) -> Result<Vec<Number>, Refused> {
        let mut count = 0;
        let mut list: sys::virTypedParameterPtr = ptr::null_mut();
        // SAFETY: the domain is referenced; libvirt stores an array of its own in `list` and its length in `count`.
        done(unsafe {
            sys::virDomainGetGuestInfo(self.0.as_ptr(), types, &raw mut list, &raw mut count, 0)
        })?;
        // SAFETY: libvirt has filled the array with `count` parameters; it is ours to free, once.
        unsafe {
            let numbers = numbers(list, count);
            sys::virTypedParamsFree(list, count);
            Ok(numbers)
        }
    }

    /// virDomainFSTrim() of everything that is mounted in the guest.
    pub(super) fn fs_trim(&self, minimum: u64) -> Result<(), Refused> {
        // SAFETY: the domain is referenced; without a mount point libvirt asks for all of them.
        done(unsafe { sys::virDomainFSTrim(self.0.as_ptr(), ptr::null(), minimum, 0) }).map(drop)
    }

    /// virDomainQemuMonitorCommand(): one command of QMP, and its answer. Taints the domain.
    pub(super) fn monitor(&self, command: &str) -> Result<String, Refused> {
        let command = text(command)?;
        let mut answer: *mut c_char = ptr::null_mut();
        // SAFETY: the domain is referenced and the command outlives the call.
        done(unsafe {
            sys::virDomainQemuMonitorCommand(self.0.as_ptr(), command.as_ptr(), &raw mut answer, 0)
        })?;
        // SAFETY: the answer is ours to free.
        unsafe { owned(answer) }
    }

    /// virDomainUpdateDeviceFlags() of the persistent configuration alone.
    pub(super) fn update_device(&self, xml: &str) -> Result<(), Refused> {
        let xml = text(xml)?;
        // SAFETY: the domain is referenced and the text outlives the call.
        let result = unsafe {
            sys::virDomainUpdateDeviceFlags(self.0.as_ptr(), xml.as_ptr(), sys::VIR_DOMAIN_AFFECT_CONFIG)
        };
        done(result).map(drop)
    }

    /// virDomainAttachDeviceFlags() to the persistent configuration alone.
    pub(super) fn attach_device(&self, xml: &str) -> Result<(), Refused> {
        let xml = text(xml)?;
        // SAFETY: the domain is referenced and the text outlives the call.
        let result = unsafe {
            sys::virDomainAttachDeviceFlags(self.0.as_ptr(), xml.as_ptr(), sys::VIR_DOMAIN_AFFECT_CONFIG)
        };
        done(result).map(drop)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: the reference that open() gave us, given back once. There is nothing to do about a failure.
        let _ = unsafe { sys::virConnectClose(self.0.as_ptr()) };
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        // SAFETY: the reference that a look-up gave us, given back once. There is nothing to do about a failure.
        let _ = unsafe { sys::virDomainFree(self.0.as_ptr()) };
    }
}

extern "C" fn say_nothing(_: *mut c_void, _: sys::virErrorPtr) {}

/// The last error of this thread, copied.
fn refused() -> Refused {
    // SAFETY: the error belongs to this thread and stays until its next call of libvirt.
    match unsafe { sys::virGetLastError().as_ref() } {
        Some(error) => Refused {
            code: error.code,
            errno: error.int1,
            // SAFETY: libvirt's message is a C string, or null.
            text: unsafe { borrowed(error.message) }.unwrap_or_default(),
        },
        None => Refused { code: 0, errno: 0, text: "libvirt gave no reason".to_owned() },
    }
}

/// -1 is libvirt's failure.
fn done(result: c_int) -> Result<c_int, Refused> {
    if result < 0 { Err(refused()) } else { Ok(result) }
}

fn text(rust: &str) -> Result<CString, Refused> {
    CString::new(rust).map_err(|_| Refused {
        code: 0,
        errno: 0,
        text: "a text with a zero byte in it means nothing to libvirt".to_owned(),
    })
}

/// Copies a C string that stays libvirt's.
///
/// # Safety
/// Null, or a C string.
unsafe fn borrowed(text: *const c_char) -> Result<String, Refused> {
    if text.is_null() {
        return Err(refused());
    }
    // SAFETY: the caller's word.
    Ok(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// Copies a C string that libvirt has handed over, and frees it.
///
/// # Safety
/// Null, or a C string from malloc() that nobody else frees.
unsafe fn owned(text: *mut c_char) -> Result<String, Refused> {
    // SAFETY: the caller's word.
    unsafe {
        let copy = borrowed(text);
        libc::free(text.cast());
        copy
    }
}

/// Takes the elements out of an array that libvirt has handed over, and frees the array.
///
/// # Safety
/// `list` holds `count` elements if that is not negative, and is from malloc().
unsafe fn taken<T: Copy, U>(
    list: *mut T,
    count: c_int,
    one: impl FnMut(T) -> Option<U>,
) -> Result<Vec<U>, Refused> {
    let count = done(count)?;
    if list.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: the caller's word.
    unsafe {
        let elements = slice::from_raw_parts(list, usize::try_from(count).unwrap_or(0));
        let taken = elements.iter().copied().filter_map(one).collect();
        libc::free(list.cast());
        Ok(taken)
    }
}

/// Copies the numbers and texts out of typed parameters.
///
/// # Safety
/// `list` is null or holds `count` parameters.
unsafe fn numbers(list: sys::virTypedParameterPtr, count: c_int) -> Vec<Number> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller's word.
    let all = unsafe { slice::from_raw_parts(list, usize::try_from(count).unwrap_or(0)) };
    all.iter()
        .filter_map(|parameter| {
            // SAFETY: libvirt ends each name with a zero, and its type says which part of the union is there.
            unsafe {
                let name = borrowed(parameter.field.as_ptr()).ok()?;
                let kind = c_uint::try_from(parameter.type_).ok()?;
                let (value, text) = match kind {
                    sys::VIR_TYPED_PARAM_INT => (u64::try_from(parameter.value.i).ok(), None),
                    sys::VIR_TYPED_PARAM_UINT => (Some(parameter.value.ui.into()), None),
                    sys::VIR_TYPED_PARAM_LLONG => (u64::try_from(parameter.value.l).ok(), None),
                    sys::VIR_TYPED_PARAM_ULLONG => (Some(parameter.value.ul), None),
                    sys::VIR_TYPED_PARAM_STRING => (None, borrowed(parameter.value.s).ok()),
                    _ => (None, None),
                };
                Some(Number { name, value, text })
            }
        })
        .collect()
}
