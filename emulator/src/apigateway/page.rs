//! Pages of lists: `maxResults` and `nextToken`.

use std::collections::BTreeMap;
use std::ops::Bound;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::error::{ApiError, bad};
use super::query::Query;

/// One page of what is listed by id. A token names the list and the last id that was shown, so that what is made or deleted
/// meanwhile moves nothing.
///
/// # Errors
/// For a number that is none, and a token that is not of this list.
pub(super) fn page<T>(
    list: &str,
    all: &BTreeMap<String, T>,
    query: &str,
    view: impl Fn(&str, &T) -> Value,
) -> Result<Value, ApiError> {
    let query = Query::parse(query);
    let most = match query.joined("maxResults") {
        Some(text) => max_results(&text)?,
        None => usize::MAX,
    };
    let start = match query.joined("nextToken") {
        Some(token) => Bound::Excluded(last_shown(list, &token)?),
        None => Bound::Unbounded,
    };
    let mut found: Vec<(&String, &T)> =
        all.range((start, Bound::Unbounded)).take(most.saturating_add(1)).collect();
    let has_more = found.len() > most;
    found.truncate(most);
    let items: Vec<Value> = found.iter().map(|(id, item)| view(id, item)).collect();
    let mut answer = json!({ "items": items });
    if let (true, Some((id, _))) = (has_more, found.last()) {
        answer["nextToken"] = Value::from(token(list, id));
    }
    Ok(answer)
}

fn max_results(text: &str) -> Result<usize, ApiError> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => bad(format!("Invalid value for maxResults: {text}")),
    }
}

fn token(list: &str, id: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}\n{id}"))
}

fn last_shown(list: &str, token: &str) -> Result<String, ApiError> {
    let decoded = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded.as_deref().and_then(|text| text.rsplit_once('\n')) {
        Some((of, id)) if of == list => Ok(id.to_owned()),
        _ => bad(format!("Invalid nextToken: {token}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages() -> BTreeMap<String, ()> {
        ["a", "b", "c"].map(|id| (id.to_owned(), ())).into()
    }

    fn shown(all: &BTreeMap<String, ()>, query: &str) -> (Value, Option<String>) {
        let page = page("stages", all, query, |id, ()| Value::from(id)).unwrap();
        (page["items"].clone(), page.get("nextToken").map(|token| token.as_str().unwrap().to_owned()))
    }

    #[test]
    fn pages_follow_each_other_whatever_changes_meanwhile() {
        let mut all = stages();
        assert_eq!(shown(&all, ""), (json!(["a", "b", "c"]), None));
        assert_eq!(shown(&all, "maxResults=3"), (json!(["a", "b", "c"]), None));
        let (first, token) = shown(&all, "maxResults=2");
        assert_eq!(first, json!(["a", "b"]));
        all.remove("b");
        all.insert("bb".to_owned(), ());
        let next = format!("maxResults=2&nextToken={}", token.unwrap());
        assert_eq!(shown(&all, &next), (json!(["bb", "c"]), None));
    }

    #[test]
    fn what_is_no_number_and_what_is_no_token_of_the_list_is_refused() {
        let of_routes = token("routes", "a");
        for query in
            ["maxResults=0", "maxResults=-1", "maxResults=many", "maxResults=", "nextToken=", "nextToken=%3F"]
                .map(str::to_owned)
                .into_iter()
                .chain([format!("nextToken={of_routes}")])
        {
            let refused = page("stages", &stages(), &query, |id, ()| Value::from(id)).unwrap_err();
            assert!(matches!(refused, ApiError::BadRequest(_)), "{query}");
        }
    }
}
