//! Cards: read leniently, kept whole, and brought into a canonical form that has no other.
//!
//! # Invariants
//! - What is written is read back as the same card; a canonical form is its own canonical form.

use mesh_card::{Form, canonical};
use mesh_proto::card::Card;

/// Any bytes as a card.
pub(crate) fn card(data: &[u8]) {
    for form in Form::ALL {
        let Ok(once) = canonical::payload(data, form) else {
            continue;
        };
        let again = canonical::payload(&once, form).expect("a canonical card is a card");
        assert_eq!(again, once, "{}", form.label());
        assert!(
            canonical::uncovered(&once, &once).is_empty(),
            "{}",
            form.label()
        );
    }
    let Ok(card) = Card::parse(data) else {
        return;
    };
    let again = Card::parse(&card.to_bytes()).expect("a card of ours is read");
    assert_eq!(again, card);
    assert_eq!(again.interfaces(), card.interfaces());
    assert!(card.interfaces().iter().all(|each| !each.url.is_empty()));
    assert_eq!(again.skills().len(), card.skills().len());
}
