//! What CloudWatch takes for the names of a metric, and for the unit of a value.

use super::MetricId;

/// Of a namespace, the name of a metric and the name of a dimension.
const NAME_CHARS_MAX: usize = 255;
const DIMENSION_VALUE_CHARS_MAX: usize = 1_024;

/// `StandardUnit` of the API's model.
pub(crate) const STANDARD_UNITS: [&str; 27] = [
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
    "None",
];

/// Whether only services may write there.
pub(crate) fn is_of_services(namespace: &str) -> bool {
    namespace.starts_with("AWS/")
}

/// Whether a metric may have such a dimension.
pub(crate) fn is_dimension(name: &str, value: &str) -> bool {
    Member::DimensionName.why_not(name).is_none() && Member::DimensionValue.why_not(value).is_none()
}

/// The first of the names that CloudWatch does not take.
pub(crate) fn flaw(namespace: &str, name: &str, dimensions: &[(String, String)]) -> Option<Flaw> {
    let names = [(Member::Namespace, namespace), (Member::MetricName, name)].into_iter();
    let of_dimensions = dimensions.iter().flat_map(|(name, value)| {
        [(Member::DimensionName, name.as_str()), (Member::DimensionValue, value.as_str())]
    });
    names.chain(of_dimensions).find_map(|(member, text)| Some(Flaw { member, why: member.why_not(text)? }))
}

impl MetricId {
    pub(crate) fn flaw(&self) -> Option<Flaw> {
        flaw(&self.namespace, &self.name, &self.dimensions)
    }
}

/// A name that is none, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    member: Member,
    why: Why,
}

impl Flaw {
    /// `place` is that of the metric in the request, with a dot; the namespace is beside it. The text itself may be very long and
    /// is not repeated.
    pub(crate) fn message(self, place: &str) -> String {
        let member = match self.member {
            Member::Namespace => "Namespace".to_owned(),
            Member::MetricName => format!("{place}MetricName"),
            Member::DimensionName => format!("{place}Dimensions.Name"),
            Member::DimensionValue => format!("{place}Dimensions.Value"),
        };
        match self.why {
            Why::Empty => format!("The parameter {member} must not be empty."),
            Why::Long => {
                let too_long = self.member.chars_max() + 1;
                format!("The parameter {member} must be shorter than {too_long} characters.")
            }
            Why::NotAscii => format!("The value for parameter {member} contains non-ASCII characters."),
            Why::Colon => format!("The value for parameter {member} must not start with a colon."),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Namespace,
    MetricName,
    DimensionName,
    DimensionValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Empty,
    Long,
    NotAscii,
    Colon,
}

impl Member {
    const fn chars_max(self) -> usize {
        match self {
            Self::Namespace | Self::MetricName | Self::DimensionName => NAME_CHARS_MAX,
            Self::DimensionValue => DIMENSION_VALUE_CHARS_MAX,
        }
    }

    fn why_not(self, text: &str) -> Option<Why> {
        let is_ascii_only = matches!(self, Self::DimensionName | Self::DimensionValue);
        let has_no_colon = matches!(self, Self::Namespace | Self::DimensionName);
        if text.is_empty() {
            Some(Why::Empty)
        } else if text.chars().nth(self.chars_max()).is_some() {
            Some(Why::Long)
        } else if is_ascii_only && !text.is_ascii() {
            Some(Why::NotAscii)
        } else if has_no_colon && text.starts_with(':') {
            Some(Why::Colon)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_up_to_their_bounds() {
        let of = |namespace: &str, name: &str, dimension: (&str, &str)| {
            let dimensions = [(dimension.0.to_owned(), dimension.1.to_owned())];
            flaw(namespace, name, &dimensions).map(|flaw| (flaw.member, flaw.why))
        };
        let (longest, longest_value) = ("é".repeat(255), "v".repeat(1_024));
        let ascii = "d".repeat(255);
        assert_eq!(of(&longest, &longest, (&ascii, &longest_value)), None);
        assert_eq!(of("N:", ":x", ("d:", ":x")), None);
        for (namespace, name, dimension, member, why) in [
            ("", "m", ("d", "v"), Member::Namespace, Why::Empty),
            ("N", "", ("d", "v"), Member::MetricName, Why::Empty),
            ("N", "m", ("", "v"), Member::DimensionName, Why::Empty),
            ("N", "m", ("d", ""), Member::DimensionValue, Why::Empty),
            (&"n".repeat(256), "m", ("d", "v"), Member::Namespace, Why::Long),
            ("N", &"m".repeat(256), ("d", "v"), Member::MetricName, Why::Long),
            ("N", "m", (&"d".repeat(256), "v"), Member::DimensionName, Why::Long),
            ("N", "m", ("d", &"v".repeat(1_025)), Member::DimensionValue, Why::Long),
            ("N", "m", ("é", "v"), Member::DimensionName, Why::NotAscii),
            ("N", "m", ("d", "é"), Member::DimensionValue, Why::NotAscii),
            (":x", "m", ("d", "v"), Member::Namespace, Why::Colon),
            ("N", "m", (":x", "v"), Member::DimensionName, Why::Colon),
        ] {
            assert_eq!(of(namespace, name, dimension), Some((member, why)));
        }
    }

    #[test]
    fn a_flaw_names_its_member_and_not_its_text() {
        let message = |namespace: &str, name: &str, dimension: (&str, &str)| {
            let dimensions = vec![(dimension.0.to_owned(), dimension.1.to_owned())];
            let flaw = MetricId::new(namespace, name, dimensions).flaw().unwrap();
            flaw.message("MetricData.member.1.")
        };
        assert_eq!(
            message("N", "m", ("d", &"v".repeat(1_025))),
            "The parameter MetricData.member.1.Dimensions.Value must be shorter than 1025 characters."
        );
        assert_eq!(
            message("N", "m", ("é", "v")),
            "The value for parameter MetricData.member.1.Dimensions.Name contains non-ASCII characters."
        );
        assert_eq!(
            message(":x", "m", ("d", "v")),
            "The value for parameter Namespace must not start with a colon."
        );
    }
}
