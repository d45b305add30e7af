//! What agents send, and how long their cards are kept for it.

use super::*;

/// Sun, 06 Nov 1994 08:49:37 GMT, the date that RFC 9110 writes in its examples.
const NOW: u64 = 784_111_777;
const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const HOUR_LATER: &str = "Sun, 06 Nov 1994 09:49:37 GMT";
const HOUR: Duration = Duration::from_hours(1);

/// Bounds that change nothing, so that what the headers say is seen.
const OPEN: Bounds = Bounds {
    least: Duration::ZERO,
    most: Duration::MAX,
    unsaid: Duration::from_secs(77),
    stale_unsaid: Duration::from_secs(99),
    stale_most: Duration::MAX,
};

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn shared(pairs: &[(&'static str, &str)]) -> Freshness {
    Freshness::of(&headers(pairs), Cache::Shared, NOW, &OPEN)
}

fn fresh(pairs: &[(&'static str, &str)]) -> u64 {
    shared(pairs).fresh_for.as_secs()
}

#[test]
fn max_age_counts_from_when_the_agent_answered() {
    assert_eq!(fresh(&[("cache-control", "max-age=60")]), 60);
    assert_eq!(fresh(&[("cache-control", "public, MAX-AGE=\"60\"")]), 60);
    assert_eq!(fresh(&[("cache-control", "max-age=60"), ("age", "20")]), 40);
    assert_eq!(fresh(&[("cache-control", "max-age=60"), ("age", "99")]), 0);
    let earlier = "Sun, 06 Nov 1994 08:49:07 GMT";
    assert_eq!(
        fresh(&[("cache-control", "max-age=60"), ("date", earlier)]),
        30
    );
}

#[test]
fn what_a_shared_cache_is_told_counts_for_it_alone() {
    let pairs = [("cache-control", "max-age=60, s-maxage=10")];
    assert_eq!(fresh(&pairs), 10);
    let private = Freshness::of(&headers(&pairs), Cache::Private, NOW, &OPEN);
    assert_eq!(private.fresh_for.as_secs(), 60);
}

#[test]
fn expires_counts_where_max_age_is_missing_and_a_date_that_is_none_is_in_the_past() {
    let pairs = [("expires", HOUR_LATER), ("date", THEN)];
    assert_eq!(fresh(&pairs), 3600);
    assert_eq!(fresh(&[("expires", HOUR_LATER)]), 3600);
    assert_eq!(fresh(&[("expires", "0")]), 0);
    let both = [("expires", HOUR_LATER), ("cache-control", "max-age=5")];
    assert_eq!(fresh(&both), 5);
}

#[test]
fn a_card_that_says_nothing_is_fresh_for_as_long_as_the_reader_says() {
    assert_eq!(fresh(&[]), 77);
    assert_eq!(fresh(&[("cache-control", "public")]), 77);
    assert_eq!(fresh(&[("age", "7")]), 70);
}

#[test]
fn no_store_private_in_a_shared_cache_and_vary_by_everything_are_not_stored() {
    for pairs in [
        [("cache-control", "max-age=60, no-store")],
        [("cache-control", "max-age=60, private")],
        [("vary", "*")],
    ] {
        let got = shared(&pairs);
        assert_eq!(got.storage, Storage::Never, "{pairs:?}");
        assert_eq!(got.fresh_for, Duration::ZERO, "{pairs:?}");
        assert_eq!(got.stale_if_error_for, Duration::ZERO, "{pairs:?}");
    }
    let own = headers(&[("cache-control", "private, max-age=60")]);
    let own = Freshness::of(&own, Cache::Private, NOW, &OPEN);
    assert_eq!(
        (own.storage, own.fresh_for.as_secs()),
        (Storage::Private, 60)
    );
}

#[test]
fn a_directive_that_cannot_be_read_does_not_make_a_card_storable() {
    let mut headers = HeaderMap::new();
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_bytes(b"max-age=9\xff").unwrap(),
    );
    let got = Freshness::of(&headers, Cache::Shared, NOW, &OPEN);
    assert_eq!(got.storage, Storage::Never);
}

#[test]
fn no_cache_may_be_stored_but_is_asked_for_every_time() {
    for pairs in [
        [("cache-control", "no-cache, max-age=60")],
        [("cache-control", "no-cache=\"set-cookie, etag\", max-age=60")],
        [("pragma", "no-cache")],
    ] {
        let got = Freshness::of(&headers(&pairs), Cache::Shared, NOW, &Bounds::default());
        assert_eq!(got.storage, Storage::Shared, "{pairs:?}");
        assert_eq!(got.fresh_for, Duration::ZERO, "{pairs:?}");
        assert_eq!(got.stale_if_error_for, Duration::ZERO, "{pairs:?}");
    }
}

#[test]
fn stale_cards_stand_in_as_the_agent_says_or_as_the_reader_says_unless_it_must_not_be() {
    let said = shared(&[(
        "cache-control",
        "max-age=1, stale-while-revalidate=5, stale-if-error=50",
    )]);
    assert_eq!(said.stale_while_revalidate_for.as_secs(), 5);
    assert_eq!(said.stale_if_error_for.as_secs(), 50);
    let unsaid = shared(&[("cache-control", "max-age=1")]);
    assert_eq!(unsaid.stale_while_revalidate_for, Duration::ZERO);
    assert_eq!(unsaid.stale_if_error_for.as_secs(), 99);
    for word in ["must-revalidate", "proxy-revalidate"] {
        let value = format!("max-age=1, stale-if-error=50, {word}");
        let forbidden = shared(&[("cache-control", value.as_str())]);
        assert_eq!(forbidden.stale_if_error_for, Duration::ZERO, "{word}");
    }
}

#[test]
fn numbers_that_are_none_count_as_zero_and_those_that_do_not_fit_as_large() {
    for odd in [
        "max-age",
        "max-age=",
        "max-age=-5",
        "max-age=1.5",
        "max-age=x",
    ] {
        assert_eq!(fresh(&[("cache-control", odd)]), 0, "{odd}");
    }
    let large = "max-age=99999999999999999999999";
    assert_eq!(fresh(&[("cache-control", large)]), 1 << 31);
    assert_eq!(fresh(&[("cache-control", "max-age=5, max-age=9")]), 5);
    let twice = [
        ("cache-control", "max-age=5"),
        ("cache-control", "no-store"),
    ];
    assert_eq!(shared(&twice).storage, Storage::Never);
}

#[test]
fn bounds_hold_at_both_ends() {
    let of = |value: &str| {
        let headers = headers(&[("cache-control", value)]);
        Freshness::of(&headers, Cache::Shared, NOW, &Bounds::default())
    };
    assert_eq!(of("max-age=86400").fresh_for, HOUR);
    assert_eq!(of("max-age=0").fresh_for.as_secs(), 1);
    let week = HOUR * 24 * 7;
    assert_eq!(
        of("max-age=0, stale-if-error=9999999").stale_if_error_for,
        week
    );
}

#[test]
fn a_conditional_request_carries_what_the_answer_had() {
    let with = Validators::of(&headers(&[("etag", "W/\"a\""), ("last-modified", THEN)]));
    let sent: HeaderMap = with.conditions().collect();
    assert_eq!(sent.get(IF_NONE_MATCH).unwrap(), "W/\"a\"");
    assert_eq!(sent.get(IF_MODIFIED_SINCE).unwrap(), THEN);
    assert!(Validators::default().is_empty());
    assert_eq!(Validators::default().conditions().count(), 0);
}

#[test]
fn a_304_need_not_repeat_what_it_validates() {
    let earlier = Validators::of(&headers(&[("etag", "\"a\""), ("last-modified", THEN)]));
    assert_eq!(Validators::default().or(&earlier), earlier);
    let repeated = Validators::of(&headers(&[("etag", "\"a\"")]));
    assert_eq!(repeated.or(&earlier), earlier);
    let other = Validators::of(&headers(&[("etag", "\"b\"")]));
    assert_eq!(other.clone().or(&earlier), other);
}

proptest::proptest! {
    #[test]
    fn no_header_makes_a_card_fresh_beyond_the_bounds(value in "[ -~]{0,60}", age in "[ -~]{0,12}") {
        let headers = headers(&[("cache-control", &value), ("age", &age), ("expires", &value)]);
        let bounds = Bounds::default();
        let got = Freshness::of(&headers, Cache::Shared, NOW, &bounds);
        proptest::prop_assert!(got.fresh_for <= bounds.most);
        proptest::prop_assert!(got.stale_if_error_for <= bounds.stale_most);
    }
}
