//! The nested attributes that netfilter messages are made of. Numbers are big-endian.

const NESTED: u16 = 0x8000;

/// A list of attributes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    pub(crate) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        // Everything here is far below 64 KiB: names are at most 255 bytes, rules a few hundred.
        let len = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend(len.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    pub(crate) fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(crate) fn nest(self, kind: u16, inner: &Attributes) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A comment as `nft` keeps it beside tables, rules and elements.
pub(crate) fn comment(text: &str) -> Vec<u8> {
    const COMMENT: u8 = 0;
    // The kernel keeps at most 256 bytes; callers that must not lose any check before.
    let text = &text.as_bytes()[..text.len().min(COMMENT_MAX)];
    let mut bytes = vec![COMMENT, u8::try_from(text.len() + 1).unwrap_or(u8::MAX)];
    bytes.extend(text);
    bytes.push(0);
    bytes
}

/// Bytes a comment may have.
pub(crate) const COMMENT_MAX: usize = 253;

/// The text of a comment made by [`comment`].
pub(crate) fn comment_text(user_data: &[u8]) -> Option<String> {
    let len = usize::from(*user_data.get(1)?);
    let text = user_data.get(2..2 + len)?;
    Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_nested() {
        let inner = Attributes::default().number(2, 5);
        let outer = Attributes::default().text(1, "ab").nest(3, &inner);

        let text = [7, 0, 1, 0, b'a', b'b', 0, 0];
        let nest = [12, 0, 3, 0x80, 8, 0, 2, 0, 0, 0, 0, 5];
        assert_eq!(outer.as_bytes(), [&text[..], &nest].concat());
    }

    #[test]
    fn a_comment_can_be_read_again() {
        assert_eq!(comment_text(&comment("web-1")).as_deref(), Some("web-1"));
        assert_eq!(comment_text(&comment(&"x".repeat(300))).unwrap().len(), COMMENT_MAX);
        assert_eq!(comment_text(&[0, 9, b'a']), None);
        assert_eq!(comment_text(&[]), None);
    }
}
