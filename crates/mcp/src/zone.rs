//! Time zones by the names that people use: IANA names, the cities in them, and cities that have none.
//!
//! Used by the clock, and by the deterministic model to find a place in a sentence.
//!
//! # Invariants
//! - The zone database is the one compiled in: the same text resolves alike on every machine.

use std::{collections::HashMap, ops::Range, sync::LazyLock};

use jiff::tz::{TimeZone, TimeZoneDatabase};

/// Finds a zone by its IANA name or by a city, in any case (`Asia/Tokyo`, `tokyo`, `New York`, `utc`).
#[must_use]
pub fn resolve(name: &str) -> Option<TimeZone> {
    let name = name.trim();
    if name.is_empty() || name.len() > NAME_BYTES {
        return None;
    }
    let place = PLACES.get(fold(name).as_str()).copied();
    BUNDLED.get(place.unwrap_or(name)).ok()
}

/// A zone named inside a sentence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mention {
    /// Where the name stands, in bytes.
    pub span: Range<usize>,
    /// The IANA name.
    pub zone: String,
}

/// Finds every zone named in a sentence, leftmost first and the longest name at each place.
///
/// A lone word that is also plain English ("wake", "nome") counts only with a capital letter or
/// after a preposition: otherwise a request to wake somebody would be about an island.
#[must_use]
pub fn mentions(sentence: &str) -> Vec<Mention> {
    let words = words(sentence);
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let longest = (1..=LONGEST.min(words.len() - at)).rev().find_map(|count| {
            let span = words[at].start..words[at + count - 1].end;
            let before = at
                .checked_sub(1)
                .map(|i| sentence.get(words[i].clone()).unwrap_or_default());
            named(sentence.get(span.clone())?, before).map(|zone| (count, Mention { span, zone }))
        });
        match longest {
            Some((count, mention)) => {
                found.push(mention);
                at += count;
            }
            None => at += 1,
        }
    }
    found
}

fn named(text: &str, before: Option<&str>) -> Option<String> {
    let capital = text.chars().next().is_some_and(char::is_uppercase);
    let placed = before.is_some_and(|word| {
        matches!(
            word.to_ascii_lowercase().as_str(),
            "in" | "at" | "for" | "of" | "from" | "to"
        )
    });
    let folded = fold(text);
    let zone = if let Some(zone) = PLACES.get(folded.as_str()) {
        let plain = !CITIES.iter().any(|(city, _)| *city == folded) && !folded.contains(' ');
        (!plain || capital || placed).then_some(*zone)?
    } else if text.contains('/') || capital {
        // A bare `EST` or `Japan` is a zone of its own; a sentence's first word is not.
        let bare = !text.contains('/');
        (!bare
            || placed
            || text
                .chars()
                .all(|c| c.is_ascii_uppercase() && text.len() > 2))
        .then_some(text)?
    } else {
        return None;
    };
    let zone = BUNDLED.get(zone).ok()?;
    zone.iana_name().map(str::to_owned)
}

fn words(sentence: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in sentence.char_indices().chain([(sentence.len(), ' ')]) {
        let inside = c.is_alphanumeric() || matches!(c, '/' | '_' | '-' | '+' | '\'');
        match (inside, start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                words.push(from..at);
                start = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }
    words
}

/// Lower case, with underscores as spaces and no accents or dots that people leave out.
fn fold(name: &str) -> String {
    let mut folded = String::with_capacity(name.len());
    for c in name.chars().flat_map(char::to_lowercase) {
        folded.push(match c {
            '_' | '-' => ' ',
            'ã' | 'á' | 'à' | 'â' => 'a',
            'é' | 'è' | 'ê' => 'e',
            'í' => 'i',
            'ó' | 'ö' | 'ô' => 'o',
            'ü' | 'ú' => 'u',
            '.' => continue,
            other => other,
        });
    }
    folded.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Longer than any name in the database.
const NAME_BYTES: usize = 64;

/// Words in the longest place name that is looked for (`Rio de Janeiro`, `Port of Spain`).
const LONGEST: usize = 4;

static BUNDLED: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Folded place name -> IANA name: the last segment of every geographic zone, then [`CITIES`].
static PLACES: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
    let mut places = HashMap::new();
    for name in BUNDLED.available() {
        let name: &'static str = name.to_string().leak();
        let Some((area, place)) = name.split_once('/') else {
            continue;
        };
        if AREAS.contains(&area) {
            let place = place.rsplit('/').next().unwrap_or(place);
            places.entry(fold(place)).or_insert(name);
        }
    }
    places.extend(
        CITIES
            .iter()
            .map(|(city, zone)| ((*city).to_owned(), *zone)),
    );
    places
});

const AREAS: [&str; 10] = [
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Europe",
    "Indian",
    "Pacific",
];

/// Well-known places, folded: those without a zone of their own name, and those so well known that
/// they need no capital letter.
const CITIES: [(&str, &str); 96] = [
    ("abu dhabi", "Asia/Dubai"),
    ("amsterdam", "Europe/Amsterdam"),
    ("ankara", "Europe/Istanbul"),
    ("athens", "Europe/Athens"),
    ("atlanta", "America/New_York"),
    ("auckland", "Pacific/Auckland"),
    ("austin", "America/Chicago"),
    ("bangalore", "Asia/Kolkata"),
    ("bangkok", "Asia/Bangkok"),
    ("barcelona", "Europe/Madrid"),
    ("beijing", "Asia/Shanghai"),
    ("bengaluru", "Asia/Kolkata"),
    ("berlin", "Europe/Berlin"),
    ("bern", "Europe/Zurich"),
    ("boston", "America/New_York"),
    ("brasilia", "America/Sao_Paulo"),
    ("brussels", "Europe/Brussels"),
    ("bucharest", "Europe/Bucharest"),
    ("budapest", "Europe/Budapest"),
    ("buenos aires", "America/Argentina/Buenos_Aires"),
    ("cairo", "Africa/Cairo"),
    ("canberra", "Australia/Sydney"),
    ("cape town", "Africa/Johannesburg"),
    ("chennai", "Asia/Kolkata"),
    ("chicago", "America/Chicago"),
    ("copenhagen", "Europe/Copenhagen"),
    ("dallas", "America/Chicago"),
    ("delhi", "Asia/Kolkata"),
    ("denver", "America/Denver"),
    ("dubai", "Asia/Dubai"),
    ("dublin", "Europe/Dublin"),
    ("edinburgh", "Europe/London"),
    ("frankfurt", "Europe/Berlin"),
    ("geneva", "Europe/Zurich"),
    ("gmt", "Etc/GMT"),
    ("greenwich", "Etc/GMT"),
    ("hamburg", "Europe/Berlin"),
    ("hanoi", "Asia/Ho_Chi_Minh"),
    ("helsinki", "Europe/Helsinki"),
    ("hong kong", "Asia/Hong_Kong"),
    ("houston", "America/Chicago"),
    ("hyderabad", "Asia/Kolkata"),
    ("islamabad", "Asia/Karachi"),
    ("istanbul", "Europe/Istanbul"),
    ("jakarta", "Asia/Jakarta"),
    ("johannesburg", "Africa/Johannesburg"),
    ("karachi", "Asia/Karachi"),
    ("kiev", "Europe/Kyiv"),
    ("kolkata", "Asia/Kolkata"),
    ("kyoto", "Asia/Tokyo"),
    ("lagos", "Africa/Lagos"),
    ("lahore", "Asia/Karachi"),
    ("las vegas", "America/Los_Angeles"),
    ("lima", "America/Lima"),
    ("lisbon", "Europe/Lisbon"),
    ("london", "Europe/London"),
    ("los angeles", "America/Los_Angeles"),
    ("madrid", "Europe/Madrid"),
    ("manila", "Asia/Manila"),
    ("melbourne", "Australia/Melbourne"),
    ("mexico city", "America/Mexico_City"),
    ("miami", "America/New_York"),
    ("milan", "Europe/Rome"),
    ("moscow", "Europe/Moscow"),
    ("mumbai", "Asia/Kolkata"),
    ("munich", "Europe/Berlin"),
    ("nairobi", "Africa/Nairobi"),
    ("new delhi", "Asia/Kolkata"),
    ("new york", "America/New_York"),
    ("new york city", "America/New_York"),
    ("osaka", "Asia/Tokyo"),
    ("oslo", "Europe/Oslo"),
    ("paris", "Europe/Paris"),
    ("philadelphia", "America/New_York"),
    ("prague", "Europe/Prague"),
    ("rio de janeiro", "America/Sao_Paulo"),
    ("rome", "Europe/Rome"),
    ("saint petersburg", "Europe/Moscow"),
    ("san diego", "America/Los_Angeles"),
    ("san francisco", "America/Los_Angeles"),
    ("seattle", "America/Los_Angeles"),
    ("seoul", "Asia/Seoul"),
    ("shanghai", "Asia/Shanghai"),
    ("shenzhen", "Asia/Shanghai"),
    ("singapore", "Asia/Singapore"),
    ("stockholm", "Europe/Stockholm"),
    ("sydney", "Australia/Sydney"),
    ("tel aviv", "Asia/Jerusalem"),
    ("tokyo", "Asia/Tokyo"),
    ("toronto", "America/Toronto"),
    ("utc", "Etc/UTC"),
    ("vienna", "Europe/Vienna"),
    ("warsaw", "Europe/Warsaw"),
    ("washington", "America/New_York"),
    ("wellington", "Pacific/Auckland"),
    ("zurich", "Europe/Zurich"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_well_known_city_has_a_zone() {
        for (city, zone) in CITIES {
            assert!(BUNDLED.get(zone).is_ok(), "{city}: {zone}");
            assert_eq!(fold(city), city, "the table holds folded names");
            assert!(resolve(city).is_some(), "{city}");
        }
    }

    #[test]
    fn a_zone_is_found_by_its_name_or_by_a_city_in_any_case() {
        for (name, zone) in [
            ("Asia/Tokyo", "Asia/Tokyo"),
            ("asia/tokyo", "Asia/Tokyo"),
            ("TOKYO", "Asia/Tokyo"),
            ("new york", "America/New_York"),
            ("New_York", "America/New_York"),
            ("São Paulo", "America/Sao_Paulo"),
            ("Reykjavik", "Atlantic/Reykjavik"),
            ("St. Johns", "America/St_Johns"),
            ("UTC", "Etc/UTC"),
        ] {
            let found = resolve(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(found.iana_name(), Some(zone), "{name}");
        }
        for name in ["", "Atlantis", "../etc/passwd", &"x".repeat(100)] {
            assert!(resolve(name).is_none(), "{name}");
        }
    }

    #[test]
    fn places_are_found_in_a_sentence_and_plain_words_are_not_places() {
        let zones = |text: &str| -> Vec<String> {
            mentions(text)
                .into_iter()
                .map(|mention| mention.zone)
                .collect()
        };
        assert_eq!(zones("what time is it in tokyo?"), ["Asia/Tokyo"]);
        assert_eq!(
            zones("New York, Rio de Janeiro and Europe/Kyiv"),
            ["America/New_York", "America/Sao_Paulo", "Europe/Kyiv"]
        );
        assert_eq!(
            zones("wake me when the reunion is over"),
            Vec::<String>::new()
        );
        assert_eq!(zones("the time in nome"), ["America/Nome"]);
        assert_eq!(zones("What is the sum"), Vec::<String>::new());
    }
}
