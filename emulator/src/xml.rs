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

/// What `escape` wrote, and what other writers escape besides.
pub(crate) fn unescape(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    // Last, so that an escaped ampersand begins nothing.
    text.replace("&#xD;", "\r").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_escaped_reads_as_it_was() {
        let text = "<a b=\"c\">&lt;\r\n</a>";
        assert_eq!(escape(text), "&lt;a b=&quot;c&quot;&gt;&amp;lt;&#xD;\n&lt;/a&gt;");
        assert_eq!(unescape(&escape(text)), text);
    }
}
