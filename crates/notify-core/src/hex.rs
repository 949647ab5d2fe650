//! Bytes as hex, in the one spelling that is written and taken here: lower case.

/// Appends `bytes` to `text`, two characters each.
///
/// Where `text` has room for them nothing is allocated, so a secret that is
/// written into what will be wiped leaves no copy.
pub fn push(text: &mut String, bytes: &[u8]) {
    text.extend(
        bytes
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(character),
    );
}

fn character(half: u8) -> char {
    char::from(match half {
        0..=9 => b'0' + half,
        _ => b'a' - 10 + half,
    })
}

/// Reads `N` bytes: `None` unless `text` is 2·`N` of `[0-9a-f]`.
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let pairs: &[[u8; 2]; N] = pairs.try_into().ok()?;
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

const fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hex_has_one_spelling() {
        assert_eq!(decode("00a5ff"), Some([0x00, 0xa5, 0xff]));
        for bad in [
            "", "00a5f", "00a5ff00", "00A5FF", "00a5fg", "00a5+f", "0é0é",
        ] {
            assert_eq!(decode::<3>(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(bytes: [u8; 32]) {
            let mut text = String::from("sha256=");
            push(&mut text, &bytes);
            prop_assert_eq!(decode(text.strip_prefix("sha256=").unwrap()), Some(bytes));
        }
    }
}
