//! Texts that name what stands elsewhere: `${KIND:NAME}`.
//!
//! # Invariants
//! - What is filled in is never read as a placeholder again.
//! - What only looks like one, or is of another kind, stays as it is.

use std::collections::BTreeMap;

/// A text, cut at its placeholders.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece<'a> {
    Text(&'a str),
    /// As it stands between the braces.
    Named(&'a str),
}

/// What a text names of these kinds, as it stands between the braces.
pub(crate) fn named<'a>(text: &'a str, kinds: &[&str]) -> impl Iterator<Item = &'a str> {
    pieces(text, kinds)
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Named(named) => Some(named),
        })
}

/// The text with what is known in the place of what names it; what is not known is empty.
pub(crate) fn filled(text: &str, kinds: &[&str], known: &BTreeMap<String, String>) -> String {
    let value = |piece| match piece {
        Piece::Text(text) => text,
        Piece::Named(named) => known.get(named).map_or("", String::as_str),
    };
    pieces(text, kinds).into_iter().map(value).collect()
}

fn pieces<'a>(text: &'a str, kinds: &[&str]) -> Vec<Piece<'a>> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        pieces.push(Piece::Text(before));
        let kind = after.split_once(':').map(|(kind, _)| kind);
        let is_ours = kind.is_some_and(|kind| kinds.contains(&kind));
        if let Some((named, after)) = after.split_once('}').filter(|_| is_ours) {
            pieces.push(Piece::Named(named));
            rest = after;
        } else {
            pieces.push(Piece::Text("${"));
            rest = after;
        }
    }
    pieces.push(Piece::Text(rest));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: &[&str] = &["env", "secret"];

    #[test]
    fn a_text_is_cut_at_what_names_something_of_a_kind_and_nowhere_else() {
        for text in [
            "",
            "plain",
            "${HOME}",
            "a ${secret:x",
            "$${",
            "é${é}",
            "${other:x}",
        ] {
            assert_eq!(named(text, KINDS).next(), None, "{text}");
            assert_eq!(filled(text, KINDS, &BTreeMap::new()), text);
        }
        let known = BTreeMap::from([
            ("env:A".to_owned(), "${secret:b/c}".to_owned()),
            ("secret:b/c".to_owned(), "2".to_owned()),
        ]);
        let text = "Bearer ${env:A}-${secret:b/c} ${X}";
        assert_eq!(filled(text, KINDS, &known), "Bearer ${secret:b/c}-2 ${X}");
    }
}
