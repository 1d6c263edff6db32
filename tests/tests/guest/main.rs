//! What needs a real Linux in a real QEMU.

mod rig;
