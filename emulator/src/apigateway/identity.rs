//! Identity sources: what of a request an authorizer's answer depends on.

use http::HeaderMap;

use super::model::Texts;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IdentitySource {
    Header(String),
    Query(String),
    Context(String),
    StageVariable(String),
}

impl IdentitySource {
    /// `$request.header.X` for HTTP APIs, `route.request.header.X` for WebSocket APIs, and so on.
    pub(super) fn parse(expression: &str) -> Option<Self> {
        type Make = fn(String) -> IdentitySource;
        const FORMS: [(&str, Make); 8] = [
            ("$request.header.", IdentitySource::Header),
            ("route.request.header.", IdentitySource::Header),
            ("$request.querystring.", IdentitySource::Query),
            ("route.request.querystring.", IdentitySource::Query),
            ("$context.", IdentitySource::Context),
            ("context.", IdentitySource::Context),
            ("$stageVariables.", IdentitySource::StageVariable),
            ("stageVariables.", IdentitySource::StageVariable),
        ];
        FORMS.iter().find_map(|(prefix, make)| {
            let name = expression.strip_prefix(prefix).filter(|name| !name.is_empty())?;
            Some(make(name.to_owned()))
        })
    }
}

/// Where the values come from.
pub(super) struct Sources<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) query: &'a super::query::Query<'a>,
    pub(super) variables: &'a Texts,
    /// What is known of the request as `$context.…`.
    pub(super) context: &'a (dyn Fn(&str) -> Option<String> + Sync),
}

impl Sources<'_> {
    /// The values in order; None when any is missing or empty: then the authorizer is not even called (401).
    pub(super) fn values(&self, sources: &[IdentitySource]) -> Option<Vec<String>> {
        sources.iter().map(|source| self.value(source).filter(|value| !value.is_empty())).collect()
    }

    /// One value; None when it is missing or empty.
    pub(super) fn one(&self, source: &IdentitySource) -> Option<String> {
        self.value(source).filter(|value| !value.is_empty())
    }

    fn value(&self, source: &IdentitySource) -> Option<String> {
        match source {
            IdentitySource::Header(name) => Some(self.headers.get(name.as_str())?.to_str().ok()?.to_owned()),
            IdentitySource::Query(name) => self.query.joined(name),
            IdentitySource::Context(name) => (self.context)(name),
            IdentitySource::StageVariable(name) => self.variables.get(name).cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_of_both_api_types_are_understood() {
        assert_eq!(
            IdentitySource::parse("$request.header.Authorization"),
            Some(IdentitySource::Header("Authorization".into()))
        );
        assert_eq!(
            IdentitySource::parse("route.request.querystring.token"),
            Some(IdentitySource::Query("token".into()))
        );
        assert_eq!(IdentitySource::parse("$request.header."), None);
        assert_eq!(IdentitySource::parse("$request.body.token"), None);
    }
}
