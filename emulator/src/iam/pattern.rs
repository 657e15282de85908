//! IAM's text patterns: `*` stands for any run of characters, `?` for one.

/// Whether letters that differ in case only are the same: in action names they are, in ARNs they are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    Sensitive,
    Insensitive,
}

/// One place of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Symbol {
    Byte(u8),
    /// `?`
    One,
    /// `*`
    Run,
}

impl Symbol {
    pub(super) const fn of(byte: u8) -> Self {
        match byte {
            b'*' => Self::Run,
            b'?' => Self::One,
            byte => Self::Byte(byte),
        }
    }
}

/// "If the wildcard is the last character of a resource ARN segment, it can expand to match beyond the colon boundaries":
/// so a resource is matched as one text.
#[must_use]
pub fn matches(pattern: &str, text: &str, case: Case) -> bool {
    let pattern = pattern.as_bytes();
    matches_symbols(pattern.len(), |at| pattern.get(at).copied().map(Symbol::of), text, case)
}

/// In time linear in the text for each `*`, and without allocating: this is on the path of every signed request.
pub(super) fn matches_symbols(
    length: usize,
    symbol: impl Fn(usize) -> Option<Symbol>,
    text: &str,
    case: Case,
) -> bool {
    let text = text.as_bytes();
    let same = |left: u8, right: u8| match case {
        Case::Sensitive => left == right,
        Case::Insensitive => left.eq_ignore_ascii_case(&right),
    };
    let (mut p, mut t) = (0, 0);
    // After the last `*`, and where in the text it stopped taking characters.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        let fits = match symbol(p) {
            Some(Symbol::Run) => {
                retry = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(Symbol::One) => true,
            Some(Symbol::Byte(expected)) => same(expected, text[t]),
            None => false,
        };
        if fits {
            p += 1;
            t += 1;
        } else {
            let Some((after_star, taken)) = retry else { return false };
            retry = Some((after_star, taken + 1));
            p = after_star;
            t = taken + 1;
        }
    }
    (p..length).all(|at| symbol(at) == Some(Symbol::Run))
}

/// `ArnLike`: "Each of the six colon-delimited components of the ARN is checked separately and each can include
/// multi-character match wildcards (*) or single-character match wildcards (?)."
#[must_use]
pub(super) fn matches_arn(pattern: &str, arn: &str) -> bool {
    const COMPONENTS: usize = 6;
    let mut patterns = pattern.splitn(COMPONENTS, ':');
    let mut components = arn.splitn(COMPONENTS, ':');
    loop {
        match (patterns.next(), components.next()) {
            (None, None) => return true,
            (Some(pattern), Some(component)) if matches(pattern, component, Case::Sensitive) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, word for word, in exponential time.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some(b'*'), _) => naive(&pattern[1..], text) || (!text.is_empty() && naive(pattern, &text[1..])),
            (Some(_), None) => false,
            (Some(p), Some(t)) => (*p == b'?' || p == t) && naive(&pattern[1..], &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn the_matcher_agrees_with_the_definition(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(
                matches(&pattern, &text, Case::Sensitive),
                naive(pattern.as_bytes(), text.as_bytes())
            );
        }

        #[test]
        fn without_regard_to_case_both_sides_may_be_written_either_way(
            pattern in "[aB*?]{0,8}",
            text in "[Ab]{0,10}",
        ) {
            let lower = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
            prop_assert_eq!(
                matches(&pattern, &text, Case::Insensitive),
                naive(lower.0.as_bytes(), lower.1.as_bytes())
            );
        }

        #[test]
        fn a_text_without_wildcards_matches_itself_alone(text in "[a-z:/]{0,12}", other in "[a-z:/]{0,12}") {
            prop_assert!(matches(&text, &text, Case::Sensitive));
            prop_assert_eq!(matches(&text, &other, Case::Sensitive), text == other);
        }
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_exponential_time() {
        let pattern = "a*".repeat(40) + "b";
        assert!(!matches(&pattern, &"a".repeat(2_000), Case::Sensitive));
    }

    #[test]
    fn in_an_arn_condition_a_star_stays_within_its_component() {
        let arn = "arn:aws:execute-api:us-east-1:123456789012:abc/live/$default";
        assert!(matches_arn("arn:aws:execute-api:*:123456789012:abc/*", arn));
        assert!(matches_arn(arn, arn));
        assert!(!matches_arn("arn:aws:*", arn), "three components are not six");
        assert!(!matches_arn("arn:aws:execute-api:*:abc/*", arn));
        assert!(matches("arn:aws:*", arn, Case::Sensitive), "as a resource it would");
    }
}
