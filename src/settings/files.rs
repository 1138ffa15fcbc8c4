//! Reads the files that contain settings or that settings name.

use std::{fs, fs::File, io::Read as _, path::Path};

use super::plain_io;

/// The text of a file of at most `max_bytes`. The error is the reason, without a path.
pub(crate) fn read_text(path: &Path, max_bytes: u64) -> Result<String, String> {
    String::from_utf8(read_bytes(path, max_bytes)?).map_err(|_| "not valid UTF-8".to_owned())
}

/// Refuses anything but a regular file: a read of a pipe may block without end.
pub(crate) fn check_is_file(path: &Path) -> Result<(), String> {
    let metadata = fs::metadata(path).map_err(plain_io)?;
    if metadata.is_file() { Ok(()) } else { Err("not a regular file".to_owned()) }
}

/// The bytes of a file of at most `max_bytes`. The error is the reason, without a path. The read stops one byte later,
/// so an endless device cannot fill the memory.
pub(crate) fn read_bytes(path: &Path, max_bytes: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(max_bytes + 1).read_to_end(&mut bytes)).map_err(plain_io)?;
    if bytes.len() as u64 > max_bytes {
        return Err(format!("longer than {max_bytes} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beyond_its_bound_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "twelve bytes").unwrap();
        assert_eq!(read_text(&file, 12).as_deref(), Ok("twelve bytes"));
        assert_eq!(read_text(&file, 11).unwrap_err(), "longer than 11 bytes");
        fs::write(&file, b"\xFF").unwrap();
        assert_eq!(read_text(&file, 12).unwrap_err(), "not valid UTF-8");
        let endless = Path::new("/dev/zero");
        assert_eq!(read_text(endless, 1 << 20).unwrap_err(), "longer than 1048576 bytes");
        assert!(read_text(folder.path(), 12).is_err());
    }
}
