//! Base64 as Python's `binascii` reads it when it is not strict: characters outside of the
//! alphabet are passed over, and what follows the padding is not looked at. Clients rely on
//! it: their own encoder puts a line end after every 76 characters.

/// Why a text is no base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadBase64 {
    #[error("Incorrect padding")]
    Padding,
    #[error(
        "Invalid base64-encoded string: number of data characters ({0}) cannot be 1 more than a \
         multiple of 4"
    )]
    OneTooMany(usize),
}

/// The bytes of a text.
///
/// # Errors
///
/// [`BadBase64`].
pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, BadBase64> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count, mut pads) = (0_u32, 0_usize, 0);
    for character in text {
        let Some(six) = value_of(*character) else {
            let place = count % 4;
            pads += usize::from(*character == b'=' && place >= 2);
            if *character == b'=' && place >= 2 && place + pads >= 4 {
                return Ok(bytes);
            }
            continue;
        };
        pads = 0;
        bits = (bits << 6 | u32::from(six)) & 0xff_ffff;
        count += 1;
        match count % 4 {
            0 => bytes.push(low(bits)),
            2 => bytes.push(low(bits >> 4)),
            3 => bytes.push(low(bits >> 2)),
            _ => {}
        }
    }
    match count % 4 {
        0 => Ok(bytes),
        1 => Err(BadBase64::OneTooMany(count)),
        _ => Err(BadBase64::Padding),
    }
}

fn low(bits: u32) -> u8 {
    bits.to_le_bytes()[0]
}

fn value_of(character: u8) -> Option<u8> {
    Some(match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use ::base64::Engine as _;
    use ::base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_reads_what_python_reads() {
        let rows: [(&str, Result<&[u8], BadBase64>); 12] = [
            ("", Ok(b"")),
            ("aGk=", Ok(b"hi")),
            ("aG\nk=\n", Ok(b"hi")),
            ("aGk=garbage", Ok(b"hi")),
            ("aGkh", Ok(b"hi!")),
            ("a\u{e4}G-k_=", Ok(b"hi")),
            ("=aGk=", Ok(b"hi")),
            ("====", Ok(b"")),
            ("aGk", Err(BadBase64::Padding)),
            // One sign of padding where two are needed counts for nothing.
            ("aA=h", Err(BadBase64::Padding)),
            ("a", Err(BadBase64::OneTooMany(1))),
            ("aGkha", Err(BadBase64::OneTooMany(5))),
        ];
        for (text, expected) in rows {
            assert_eq!(decode(text.as_bytes()).as_deref(), expected.as_ref().copied(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(bytes: Vec<u8>) {
            prop_assert_eq!(decode(STANDARD.encode(&bytes).as_bytes()), Ok(bytes));
        }
    }
}
