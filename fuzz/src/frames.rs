//! Encodes client frames and decodes server frames, without the gateway's code: the code under test must not check
//! itself.

use bytes::Bytes;
use protocol::deflate::Inflater;

/// A whole masked frame (RFC 6455, section 5.2).
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x9E, 0x01, 0x7F, 0x42];
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        middle @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The text of a server's frame, inflated if it is compressed.
pub fn text_of(frame: &Bytes) -> String {
    let header = match frame[1] {
        127 => 10,
        126 => 4,
        _ => 2,
    };
    let (is_deflated, payload) = (frame[0] & 0x40 != 0, &frame[header..]);
    assert_eq!(frame[0] & 0xBF, 0x81, "not one whole text frame");
    let text = if is_deflated { inflate(payload) } else { payload.to_vec() };
    String::from_utf8(text).expect("a text frame is not UTF-8")
}

fn inflate(wire: &[u8]) -> Vec<u8> {
    let (mut inflater, mut output) = (Inflater::new(), bytes::BytesMut::new());
    inflater.push(wire, &mut output, usize::MAX).expect("a frame of the gateway cannot be inflated");
    inflater.finish(&mut output, usize::MAX).expect("a compressed frame of the gateway is incomplete");
    output.to_vec()
}
