//! Encodes commands.

/// Appends a command in RESP.
pub(super) fn encode(buffer: &mut Vec<u8>, name: &str, arguments: &[impl AsRef<str>]) {
    buffer.extend_from_slice(format!("*{}\r\n", 1 + arguments.len()).as_bytes());
    for argument in std::iter::once(name).chain(arguments.iter().map(AsRef::as_ref)) {
        buffer.extend_from_slice(format!("${}\r\n{argument}\r\n", argument.len()).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_encoded_as_redis_rs_encodes_them() {
        let mut buffer = Vec::new();
        encode(&mut buffer, "SUBSCRIBE", &["gateway:größe", "b"]);
        encode(&mut buffer, "AUTH", &[""]);
        let mut expected = redis::cmd("SUBSCRIBE").arg("gateway:größe").arg("b").get_packed_command();
        expected.extend(redis::cmd("AUTH").arg("").get_packed_command());
        assert_eq!(buffer, expected);
    }
}
