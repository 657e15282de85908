//! How callers name a function: plain, partial ARN or full ARN, with an optional qualifier.

/// A function and, when the reference carries one, its qualifier (version or alias).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FunctionRef {
    pub(crate) name: String,
    pub(crate) qualifier: Option<String>,
}

impl FunctionRef {
    /// `name`, `account:function:name`, `arn:aws:lambda:region:account:function:name`, each with `:qualifier` or not.
    pub(crate) fn parse(reference: &str) -> Option<Self> {
        let parts: Vec<&str> = reference.split(':').collect();
        let (name, qualifier) = match parts.as_slice() {
            ["arn", _, "lambda", _, _, "function", name] | [_, "function", name] | [name] => (*name, None),
            ["arn", _, "lambda", _, _, "function", name, qualifier]
            | [_, "function", name, qualifier]
            | [name, qualifier] => (*name, Some(*qualifier)),
            _ => return None,
        };
        is_name(name).then(|| Self { name: name.to_owned(), qualifier: qualifier.map(str::to_owned) })
    }
}

/// AWS: 1-64 characters of letters, digits, `-` and `_`.
pub(crate) fn is_name(name: &str) -> bool {
    is_word(name, 64)
}

/// AWS: 1-128 of the same characters, but no number, which would be a version.
pub(crate) fn is_alias(name: &str) -> bool {
    is_word(name, 128) && !name.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_word(text: &str, chars_max: usize) -> bool {
    (1..=chars_max).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(reference: &str) -> Option<(String, Option<String>)> {
        FunctionRef::parse(reference).map(|function| (function.name, function.qualifier))
    }

    #[test]
    fn every_documented_form_names_the_same_function() {
        for reference in ["f", "1:function:f", "arn:aws:lambda:eu-west-1:1:function:f"] {
            assert_eq!(parsed(reference), Some(("f".into(), None)), "{reference}");
            let qualified = format!("{reference}:live");
            assert_eq!(parsed(&qualified), Some(("f".into(), Some("live".into()))), "{qualified}");
        }
    }

    #[test]
    fn an_alias_is_no_number() {
        for (name, expected) in [("live", true), ("1a", true), ("12", false), ("$LATEST", false), ("", false)]
        {
            assert_eq!(is_alias(name), expected, "{name}");
        }
    }

    #[test]
    fn an_alias_has_a_longer_name_than_a_function() {
        for (chars, of_function, of_alias) in [(64, true, true), (65, false, true), (128, false, true)] {
            let name = "a".repeat(chars);
            assert_eq!((is_name(&name), is_alias(&name)), (of_function, of_alias), "{chars}");
        }
        assert!(!is_alias(&"a".repeat(129)));
    }

    #[test]
    fn what_is_no_function_is_refused() {
        for reference in ["", "a b", "arn:aws:sqs:r:a:q", "a:b:c:d"] {
            assert_eq!(parsed(reference), None, "{reference}");
        }
    }
}
