//! Rewrites the Upgrade header of a request as it arrives. Does no IO.
//!
//! `actix-http` upgrades a connection only if the value of an Upgrade line is exactly `websocket`. By RFC 6455, section
//! 4.2.1, and RFC 9110, section 7.8, the value is a list: `Upgrade: websocket, h2c` asks for a WebSocket, too. Such a
//! line becomes `websocket`, padded with spaces to its original length. All other bytes pass unchanged.

/// The longest line that is held until it is complete. A longer line passes unchanged.
const MAX_HELD_BYTES: usize = 256;
const NAME: &[u8] = b"upgrade:";
const WEBSOCKET: &[u8] = b"websocket";

/// Rewrites the head of one request.
#[derive(Debug, Default)]
pub(super) struct UpgradeHeaderRewriter {
    stage: HeadStage,
    /// The beginning of a line that may be an Upgrade header.
    held_line: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum HeadStage {
    /// Empty lines may precede the request line.
    #[default]
    BeforeRequest,
    /// At the beginning of a line, or in a line that is held.
    Line,
    /// In a line that is not an Upgrade header.
    OtherLine,
    /// After the empty line that ends the head.
    Complete,
}

impl UpgradeHeaderRewriter {
    /// Whether the head is complete.
    pub(super) fn is_complete(&self) -> bool {
        self.stage == HeadStage::Complete
    }

    /// Reads the next bytes, and appends to `output` the bytes that may pass.
    pub(super) fn push(&mut self, bytes: &[u8], output: &mut Vec<u8>) {
        for (index, &byte) in bytes.iter().enumerate() {
            match self.stage {
                HeadStage::BeforeRequest => {
                    output.push(byte);
                    if !matches!(byte, b'\r' | b'\n') {
                        self.stage = HeadStage::OtherLine;
                    }
                }
                HeadStage::Line => self.push_to_line(byte, output),
                HeadStage::OtherLine => {
                    output.push(byte);
                    if byte == b'\n' {
                        self.stage = HeadStage::Line;
                    }
                }
                HeadStage::Complete => return output.extend_from_slice(&bytes[index..]),
            }
        }
    }

    fn push_to_line(&mut self, byte: u8, output: &mut Vec<u8>) {
        self.held_line.push(byte);
        if byte == b'\n' {
            self.stage = if is_empty(&self.held_line) { HeadStage::Complete } else { HeadStage::Line };
            rewrite(&mut self.held_line);
            output.append(&mut self.held_line);
        } else if !may_be_upgrade(&self.held_line) {
            output.append(&mut self.held_line);
            self.stage = HeadStage::OtherLine;
        }
    }
}

fn is_empty(line: &[u8]) -> bool {
    matches!(line, b"\r\n" | b"\n")
}

/// Whether a line with this beginning may be an Upgrade header, or the end of the head.
fn may_be_upgrade(line: &[u8]) -> bool {
    let known = line.len().min(NAME.len());
    line == b"\r" || (line.len() <= MAX_HELD_BYTES && line[..known].eq_ignore_ascii_case(&NAME[..known]))
}

/// Replaces the value of an Upgrade line that lists `websocket` by `websocket` alone.
fn rewrite(line: &mut [u8]) {
    if line.len() < NAME.len() || !line[..NAME.len()].eq_ignore_ascii_case(NAME) {
        return;
    }
    let value = line[NAME.len()..].trim_ascii_end();
    let is_text = value.iter().all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t'));
    let is_listed = |value: &[u8]| value.trim_ascii().eq_ignore_ascii_case(WEBSOCKET);
    // A value that is not text passes unchanged: the parser refuses it.
    if is_text && value.split(|&byte| byte == b',').any(is_listed) {
        let value = NAME.len()..NAME.len() + value.len();
        line[value.clone()].fill(b' ');
        line[value][..WEBSOCKET.len()].copy_from_slice(WEBSOCKET);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The output for `bytes` that arrive in pieces of `cut`, and whether the head is complete.
    fn pass(bytes: &[u8], cut: usize) -> (Vec<u8>, bool) {
        let (mut head, mut output) = (UpgradeHeaderRewriter::default(), Vec::new());
        bytes.chunks(cut).for_each(|piece| head.push(piece, &mut output));
        (output, head.is_complete())
    }

    /// The output for a header line. Checks that it does not depend on how the request is cut.
    fn line(line: &str) -> String {
        let request = format!("GET / HTTP/1.1\r\n{line}\r\nhost: a\r\n\r\n");
        let (whole, is_complete) = pass(request.as_bytes(), request.len());
        assert!(is_complete && whole.len() == request.len());
        for cut in 1..request.len() {
            assert_eq!(pass(request.as_bytes(), cut), (whole.clone(), true), "cut every {cut} bytes");
        }
        String::from_utf8(whole).unwrap().split("\r\n").nth(1).unwrap().to_owned()
    }

    #[test]
    fn a_list_with_websocket_becomes_websocket() {
        for text in [
            "Upgrade: websocket, h2c",
            "upgrade:h2c,websocket",
            "UPGRADE: h2c , WebSocket , x/1",
            "Upgrade: websocket",
            "Upgrade: ,websocket,",
        ] {
            let output = line(text);
            assert_eq!(output.trim_end().to_lowercase(), "upgrade:websocket", "{text}");
            assert_eq!(output.len(), text.len());
        }
    }

    #[test]
    fn other_lines_pass_unchanged() {
        let long = format!("Upgrade: {}, websocket", "x".repeat(MAX_HELD_BYTES));
        for text in [
            "Upgrade: h2c",
            "Upgrade: websockets, h2c",
            "Upgrade: websocket/13, h2c",
            "Upgrade : websocket, h2c",
            "Upgrade-Insecure-Requests: websocket, 1",
            "X: Upgrade: websocket, h2c",
            "Up",
            &long,
        ] {
            assert_eq!(line(text), text);
        }
        let (output, _) = pass(b"GET / HTTP/1.1\r\nUpgrade: websocket, \0\r\n\r\n", 5);
        assert_eq!(output, b"GET / HTTP/1.1\r\nUpgrade: websocket, \0\r\n\r\n");
    }

    #[test]
    fn bytes_after_the_head_pass_unchanged() {
        let after = b"Upgrade: websocket, h2c\r\n\r\n";
        for head in ["GET / HTTP/1.1\r\n\r\n", "\r\n\r\nGET / HTTP/1.1\r\nx: y\r\n\r\n", "GET /\n\n"] {
            let whole = [head.as_bytes(), after].concat();
            for cut in 1..whole.len() {
                assert_eq!(pass(&whole, cut), (whole.clone(), true), "{head:?} cut every {cut} bytes");
            }
        }
        assert!(!pass(b"\r\n\r\n\r\n", 1).1, "empty lines are not a request");
    }

    proptest! {
        #[test]
        fn the_output_does_not_depend_on_how_bytes_are_cut(
            parts in proptest::collection::vec(
                prop::sample::select(&["upgrade: ", "websocket", ", h2c", "\r\n", "\r", "x"][..]),
                0..20,
            ),
            cut in 1_usize..40,
        ) {
            // An incomplete last line would be held.
            let bytes = (parts.concat() + "\n").into_bytes();
            let (output, is_complete) = pass(&bytes, cut);
            prop_assert_eq!(output.len(), bytes.len());
            prop_assert_eq!((output, is_complete), pass(&bytes, bytes.len()));
        }
    }
}
