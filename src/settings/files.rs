//! Reading the files that settings are in or name.

use std::{fs, fs::File, io::Read as _, path::Path};

use super::plain_io;

/// The text of a file of at most `max_bytes`, or what is wrong with it.
pub(crate) fn read_text(path: &Path, max_bytes: u64) -> Result<String, String> {
    String::from_utf8(read_bytes(path, max_bytes)?).map_err(|_| "not valid UTF-8".to_owned())
}

/// Refuses what is no regular file: a pipe would be read once and then never end.
pub(crate) fn check_is_file(path: &Path) -> Result<(), String> {
    let metadata = fs::metadata(path).map_err(plain_io)?;
    if metadata.is_file() { Ok(()) } else { Err("not a regular file".to_owned()) }
}

/// The bytes of a file of at most `max_bytes`, or what is wrong with it. No more than that is read, so that a device
/// without an end named by mistake is refused and does not fill the memory.
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
