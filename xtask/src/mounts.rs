//! The right to mount a file as a disk.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::need::{Missing, Need};

/// An ext4 in a file can be made and mounted, which takes root.
#[derive(Debug)]
pub(crate) struct Mounts;

impl Need for Mounts {
    fn ensure(&self) -> Result<(), Missing> {
        let folder = Path::new("target/mounts");
        let image = folder.join("probe.img");
        let disk = folder.join("disk");
        let mounted = fs::create_dir_all(&disk).is_ok()
            && runs(Command::new("truncate").args(["-s", "4M"]).arg(&image))
            && runs(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))
            && runs(
                Command::new("mount")
                    .args(["-o", "loop"])
                    .args([&image, &disk]),
            );
        if mounted {
            runs(Command::new("umount").arg(&disk));
        }
        let _ = fs::remove_dir_all(folder);
        mounted.then_some(()).ok_or(Missing(
            "mounting a file as a disk is not allowed; run as root, with e2fsprogs installed"
                .to_owned(),
        ))
    }
}

fn runs(command: &mut Command) -> bool {
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
