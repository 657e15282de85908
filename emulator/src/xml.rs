//! Text in the XML of the query protocol and of S3.

/// For text and for attributes. A bare carriage return would be read as a line feed.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\r' => escaped.push_str("&#xD;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// What a text in a document stands for.
pub(crate) fn unescape(text: &str) -> String {
    let mut parts = text.split('&');
    let mut unescaped = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(';').and_then(|(name, rest)| Some((named(name)?, rest))) {
            Some((character, rest)) => {
                unescaped.push(character);
                unescaped.push_str(rest);
            }
            None => {
                unescaped.push('&');
                unescaped.push_str(part);
            }
        }
    }
    unescaped
}

fn named(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(number) => u32::from_str_radix(number, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

/// What is in each element of the name, in a document that an engine wrote: without attributes, and none in another.
pub(crate) fn elements<'a>(document: &'a str, name: &str) -> Vec<&'a str> {
    let (begin, end) = (format!("<{name}>"), format!("</{name}>"));
    let rests = document.split(begin.as_str()).skip(1);
    rests.filter_map(|rest| rest.split_once(end.as_str())).map(|(element, _)| element).collect()
}

/// The text of the first element of the name.
pub(crate) fn text_of(document: &str, name: &str) -> Option<String> {
    elements(document, name).first().map(|text| unescape(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_read_as_something_else_is_escaped() {
        let text = "<a b=\"c\">&lt;\r\n</a>";
        assert_eq!(escape(text), "&lt;a b=&quot;c&quot;&gt;&amp;lt;&#xD;\n&lt;/a&gt;");
        assert_eq!(unescape(&escape(text)), text);
    }

    #[test]
    fn what_is_no_reference_stays_as_it_is() {
        for (escaped, text) in
            [("&#228;&#xE4;&apos;", "ää'"), ("a & b;c&", "a & b;c&"), ("&#xD800;", "&#xD800;")]
        {
            assert_eq!(unescape(escaped), text);
        }
    }

    #[test]
    fn elements_are_those_of_the_name() {
        let document = "<Tags><Tag><Key>a&amp;</Key></Tag><Tag><Key>b</Key></Tag><TagId>c</TagId></Tags>";
        assert_eq!(elements(document, "Tag"), ["<Key>a&amp;</Key>", "<Key>b</Key>"]);
        assert_eq!(text_of(document, "Key").as_deref(), Some("a&"));
        assert_eq!(text_of(document, "Value"), None);
    }
}
