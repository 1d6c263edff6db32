//! Disks, filesystems and agents that clean up after themselves, also when a test fails.

use std::{
    fs,
    io::Write,
    os::unix::{fs::MetadataExt, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;
/// Bytes of a [`Long`] one.
pub(crate) const LONG: u64 = 256 * GIB;
pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_trimtab-agent");

static TURN: Mutex<()> = Mutex::new(());

/// Runs a program to its end; a failure ends the test with what it said.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    text
}

fn quietly(program: &str, args: &[&str]) {
    let _ = Command::new(program).args(args).stderr(Stdio::null()).status();
}

/// Waits until it holds, or ends the test.
pub(crate) fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A folder on a tmpfs of its own, so that a loop device over a file in it is a disk at the bottom of its stack.
pub(crate) struct Scratch {
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "these tests make loop devices and mounts: run them as root"
        );
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        run("mount", &["-t", "tmpfs", "trimtab-test", &folder.path().to_string_lossy()]);
        Self { folder, _turn: turn }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        quietly("umount", &["-l", &self.folder.path().to_string_lossy()]);
    }
}

/// A disk: a loop device over a sparse file.
pub(crate) struct Disk {
    pub(crate) device: String,
    image: PathBuf,
}

impl Disk {
    pub(crate) fn new(scratch: &Scratch, name: &str, bytes: u64) -> Self {
        Self::over(scratch.path(&format!("{name}.img")), bytes)
    }

    /// Over a file of a name.
    pub(crate) fn over(image: PathBuf, bytes: u64) -> Self {
        fs::File::create(&image).unwrap().set_len(bytes).unwrap();
        let device = run("losetup", &["--find", "--show", "--partscan", &image.to_string_lossy()]);
        Self { device, image }
    }

    /// Two partitions of the same size, as devices.
    pub(crate) fn in_two(&self, each_mib: u64) -> [String; 2] {
        let mut sfdisk =
            Command::new("sfdisk").args(["--quiet", &self.device]).stdin(Stdio::piped()).spawn().unwrap();
        let table = format!("label: gpt\nsize={each_mib}MiB\nsize={each_mib}MiB\n");
        sfdisk.stdin.take().unwrap().write_all(table.as_bytes()).unwrap();
        assert!(sfdisk.wait().unwrap().success());
        // Not every kernel reads partition tables by itself.
        quietly("partx", &["--add", &self.device]);
        let parts = [format!("{}p1", self.device), format!("{}p2", self.device)];
        until("partitions appear", Duration::from_secs(5), || parts.iter().all(|p| Path::new(p).exists()));
        parts
    }

    /// "7:3".
    pub(crate) fn id(&self) -> String {
        id_of(&self.device)
    }

    /// Bytes that the device has discarded, by its own counter, which goes on from the loop device's last file.
    pub(crate) fn discarded(&self) -> u64 {
        let stat = fs::read_to_string(self.device.replace("/dev/", "/sys/class/block/") + "/stat").unwrap();
        stat.split_ascii_whitespace().nth(13).unwrap().parse::<u64>().unwrap() * 512
    }

    /// What the image occupies, bytes.
    pub(crate) fn allocated(&self) -> u64 {
        fs::metadata(&self.image).unwrap().blocks() * 512
    }
}

/// A block device's number, "7:3".
pub(crate) fn id_of(device: &str) -> String {
    let name = device.trim_start_matches("/dev/");
    fs::read_to_string(format!("/sys/class/block/{name}/dev")).unwrap().trim().to_owned()
}

impl Drop for Disk {
    fn drop(&mut self) {
        quietly("partx", &["--delete", &self.device]);
        quietly("losetup", &["--detach", &self.device]);
    }
}

/// A mounted filesystem.
pub(crate) struct Mounted {
    pub(crate) path: PathBuf,
}

impl Mounted {
    pub(crate) fn new(scratch: &Scratch, fs_type: &str, device: &str) -> Self {
        let options: &[&str] = match fs_type {
            "ext4" => &["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
            "xfs" | "btrfs" => &["-q"],
            other => panic!("no mkfs for {other}"),
        };
        Self::made_with(scratch, fs_type, device, options)
    }

    /// An ext4 with next to nothing on it: where it is large, a gentle trim of it takes long.
    pub(crate) fn slow_to_trim(scratch: &Scratch, device: &str) -> Self {
        let few_inodes = ["-q", "-O", "^has_journal", "-N", "4096", "-E", "lazy_itable_init=0,nodiscard"];
        Self::made_with(scratch, "ext4", device, &few_inodes)
    }

    fn made_with(scratch: &Scratch, fs_type: &str, device: &str, options: &[&str]) -> Self {
        let mut args = options.to_vec();
        args.push(device);
        run(&format!("mkfs.{fs_type}"), &args);
        let path = scratch.path(&format!("mnt-{}", device.replace('/', "-")));
        fs::create_dir(&path).unwrap();
        run("mount", &[device, &path.to_string_lossy()]);
        Self { path }
    }

    /// Writes bytes that do not compress; some stay, some are deleted. Returns the checksum of those that stay.
    pub(crate) fn write_and_delete(&self, keep: u64, delete: u64) -> String {
        for (name, bytes) in [("kept", keep), ("gone", delete)] {
            let mut random = fs::File::open("/dev/urandom").unwrap();
            let mut file = fs::File::create(self.path.join(name)).unwrap();
            std::io::copy(&mut std::io::Read::take(&mut random, bytes), &mut file).unwrap();
            file.sync_all().unwrap();
        }
        fs::remove_file(self.path.join("gone")).unwrap();
        self.checksum()
    }

    /// Of the file that stays, as the disk has it.
    pub(crate) fn checksum(&self) -> String {
        run("sync", &["-f", &self.path.to_string_lossy()]);
        fs::write("/proc/sys/vm/drop_caches", "1").unwrap();
        run("sha256sum", &[&self.path.join("kept").to_string_lossy()])
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        until_unmounted(&self.path);
    }
}

/// A worker that was just killed may hold it for a moment.
fn until_unmounted(path: &Path) {
    for _ in 0..50 {
        let status = Command::new("umount").arg(path).stderr(Stdio::null()).status();
        if status.is_ok_and(|s| s.success()) {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    quietly("umount", &["-l", &path.to_string_lossy()]);
}

/// A filesystem, and its disk, of which a gentle trim takes long.
pub(crate) struct Long {
    // Dropped in this order.
    pub(crate) mounted: Mounted,
    pub(crate) disk: Disk,
}

impl Long {
    pub(crate) fn new(scratch: &Scratch) -> Self {
        let disk = Disk::new(scratch, "long", LONG);
        Self { mounted: Mounted::slow_to_trim(scratch, &disk.device), disk }
    }

    pub(crate) fn id(&self) -> String {
        self.disk.id()
    }

    pub(crate) fn mount(&self) -> String {
        self.mounted.path.to_string_lossy().into_owned()
    }
}

/// An agent with its own /run.
pub(crate) fn agent(scratch: &Scratch) -> Command {
    let mut command = Command::new(AGENT);
    command.arg("--run-dir").arg(scratch.path("run"));
    command
}

/// `trim` by hand, to its end.
pub(crate) fn trim(scratch: &Scratch, args: &[&str]) -> Output {
    agent(scratch).arg("trim").args(args).output().unwrap()
}

/// The one document that a program printed.
pub(crate) fn json(out: &Output) -> Value {
    let text = String::from_utf8_lossy(&out.stdout);
    serde_json::from_str(&text).unwrap_or_else(|e| {
        panic!("{e}: {text} {}", String::from_utf8_lossy(&out.stderr));
    })
}

/// An agent that serves on a unix socket.
pub(crate) struct Serving {
    pub(crate) child: Child,
    pub(crate) socket: PathBuf,
}

impl Serving {
    pub(crate) fn start(scratch: &Scratch) -> Self {
        Self::start_with(scratch, "")
    }

    pub(crate) fn start_with(scratch: &Scratch, config: &str) -> Self {
        Self::spawn(scratch, config, agent(scratch))
    }

    pub(crate) fn spawn(scratch: &Scratch, config: &str, mut command: Command) -> Self {
        let socket = scratch.path("agent.sock");
        let file = scratch.path("agent.toml");
        fs::write(&file, config).unwrap();
        let _ = fs::remove_file(&socket);
        let child = command
            .arg("--config")
            .arg(&file)
            .arg("serve")
            .arg("--listen")
            .arg(format!("unix:{}", socket.display()))
            .spawn()
            .unwrap();
        let serving = Self { child, socket };
        until("the agent listens", Duration::from_secs(10), || UnixStream::connect(&serving.socket).is_ok());
        serving
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.pid(), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Its exit code, when it has ended by itself.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<i32> {
        let child = &mut self.child;
        until("the agent ends", limit, || child.try_wait().unwrap().is_some());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The worker processes of an agent.
pub(crate) fn workers_of(agent: u32) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|b| *b == 0).collect();
        if let [_, b"worker", parent, ..] = words.as_slice()
            && *parent == agent.to_string().as_bytes()
        {
            found.push(pid);
        }
    }
    found
}
