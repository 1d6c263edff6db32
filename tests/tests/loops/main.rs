//! What needs real filesystems and no guest: loop devices over sparse files. Runs as root.

mod rig;
mod storage;
mod survey;
