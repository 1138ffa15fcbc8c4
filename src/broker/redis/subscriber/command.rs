//! Encodes commands.

/// Appends a command in RESP.
pub(super) fn encode(buffer: &mut Vec<u8>, arguments: &[&str]) {
    buffer.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        buffer.extend_from_slice(format!("${}\r\n{argument}\r\n", argument.len()).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_encoded_as_redis_rs_encodes_them() {
        let mut buffer = Vec::new();
        encode(&mut buffer, &["SUBSCRIBE", "gateway:größe"]);
        encode(&mut buffer, &["AUTH", ""]);
        let mut expected = redis::cmd("SUBSCRIBE").arg("gateway:größe").get_packed_command();
        expected.extend(redis::cmd("AUTH").arg("").get_packed_command());
        assert_eq!(buffer, expected);
    }
}
