//! The stack under load: URLs, owners with their tokens, and the HTTP requests.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};

use crate::book::Book;
use crate::error::LoadError;
use crate::job::Job;
use crate::ledger::Outcome;
use crate::loopback::client_for;
use crate::plan::LoadPlan;
use crate::reads::{Begun, ReadFailure};
use crate::stack::{Stack, StackError};
use crate::token::{Claims, Minter};
use crate::wire::{self, PageView, Seen, TaskView};

/// The token to use where the stack has no key pair of its own.
pub const TOKEN_VARIABLE: &str = "TASKS_TOKEN";
/// Tokens outlive the arrivals by this: settling, a redrive and the last reads come after.
const TOKEN_SLACK: Duration = Duration::from_secs(3600);
/// A token that is given must outlast what was planned by this: a minute to settle, half of one for the last reads, and the
/// clocks of whoever made the token. Issuers are sparing with it, so that it is no hour.
pub const GIVEN_TOKEN_SLACK: Duration = Duration::from_secs(120);
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// One client identity.
pub(crate) struct Owner {
    pub(crate) name: String,
    authorization: HeaderValue,
    pub(crate) socket_url: String,
}

pub(crate) struct Target {
    tasks_url: String,
    pub(crate) owners: Vec<Owner>,
    /// It was not made here, and names the one owner.
    pub(crate) is_token_given: bool,
    /// For goose's users, and for what goose does not send: twins, catch-up and last reads.
    pub(crate) client: reqwest::Client,
}

impl Target {
    pub(crate) fn new(stack: &Stack, plan: &LoadPlan) -> Result<Self, LoadError> {
        let client = client_for(&stack.http_url)
            .timeout(plan.request_timeout)
            .build()
            .map_err(LoadError::HttpClient)?;
        let names = (0..plan.owners).map(|number| format!("{}-owner-{number}", plan.run_id));
        let tokens = Tokens::of(stack, plan)?;
        let is_token_given = matches!(tokens, Tokens::Given { .. });
        let owners = tokens.owners(stack, names)?;
        Ok(Self { tasks_url: format!("{}/tasks", stack.http_url), owners, is_token_given, client })
    }

    pub(crate) fn tasks_url(&self) -> &str {
        &self.tasks_url
    }

    pub(crate) fn owner_names(&self) -> Vec<String> {
        self.owners.iter().map(|owner| owner.name.clone()).collect()
    }

    pub(crate) fn post(&self, client: &reqwest::Client, owner: usize, job: &Job) -> reqwest::RequestBuilder {
        self.post_without_key(client, owner, job).header(IDEMPOTENCY_KEY, &job.idempotency_key)
    }

    pub(crate) fn post_without_key(
        &self,
        client: &reqwest::Client,
        owner: usize,
        job: &Job,
    ) -> reqwest::RequestBuilder {
        client
            .post(&self.tasks_url)
            .header(AUTHORIZATION, self.owners[owner].authorization.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(job.body.clone())
    }

    pub(crate) fn get_task(
        &self,
        client: &reqwest::Client,
        owner: usize,
        task_id: &str,
    ) -> reqwest::RequestBuilder {
        client
            .get(format!("{}/{task_id}", self.tasks_url))
            .header(AUTHORIZATION, self.owners[owner].authorization.clone())
    }

    pub(crate) fn get_page(
        &self,
        client: &reqwest::Client,
        owner: usize,
        limit: u32,
    ) -> reqwest::RequestBuilder {
        client
            .get(format!("{}?limit={limit}", self.tasks_url))
            .header(AUTHORIZATION, self.owners[owner].authorization.clone())
    }

    /// Whether a read shows a task in a final state.
    pub(crate) async fn is_final(&self, owner: usize, task_id: &str) -> bool {
        let Ok(response) = self.get_task(&self.client, owner, task_id).send().await else { return false };
        let Ok(body) = response.bytes().await else { return false };
        serde_json::from_slice::<TaskView>(&body).is_ok_and(|task| task.seen().status.is_final())
    }

    /// Reads one task into the book, aside from the reads of the run's rate. A failed read shows nothing of the task, and the next
    /// one may; of the token it may.
    pub(crate) async fn read_into(&self, book: &Book, owner: usize, task_id: &str) {
        let begun = Begun { is_aside: true, ..book.begin_read(Some(task_id)) };
        match body_of(self.get_task(&self.client, owner, task_id).send().await).await {
            Ok(body) => note_task(book, begun, task_id, &body),
            Err(failure) if failure.is_denial() => book.failed_read(begun, failure),
            Err(_) => {}
        }
    }
}

/// A token that the stack accepts for `owner`.
pub fn mint(stack: &Stack, owner: &str, ttl: Duration) -> Result<String, LoadError> {
    Ok(minter(stack)?.ok_or(LoadError::NoKey)?.token(owner, ttl))
}

fn minter(stack: &Stack) -> Result<Option<Minter>, LoadError> {
    let Some(path) = &stack.auth.private_key_path else { return Ok(None) };
    let pem =
        std::fs::read_to_string(path).map_err(|source| StackError::Read { path: path.clone(), source })?;
    Ok(Some(Minter::new(&pem, &stack.auth.issuer, &stack.auth.audience)?))
}

/// Where the tokens of a load come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// The stack's own key: there are as many as are needed, for as long as they are.
    Key,
    /// One was given, which is one owner's. `left` is how long it is good for; `None` of one without an end.
    Given { left: Option<Duration> },
}

/// Fails where no token is to be had.
pub fn token_source(stack: &Stack) -> Result<TokenSource, LoadError> {
    match minter(stack)? {
        Some(_) => Ok(TokenSource::Key),
        None => Ok(TokenSource::Given { left: given_token()?.1.left() }),
    }
}

/// The token that is given, and what it says of itself.
fn given_token() -> Result<(String, Claims), LoadError> {
    let token = std::env::var(TOKEN_VARIABLE).map_err(|_| LoadError::NoToken { variable: TOKEN_VARIABLE })?;
    let claims = Claims::of(&token).ok_or(LoadError::NoSubject { variable: TOKEN_VARIABLE })?;
    authorization(&token)?;
    Ok((token, claims))
}

fn authorization(token: &str) -> Result<HeaderValue, LoadError> {
    let mut authorization = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| LoadError::UnreadableToken { variable: TOKEN_VARIABLE })?;
    authorization.set_sensitive(true);
    Ok(authorization)
}

/// The body of a successful answer to a GET. Read whole in any case, so that the connection can be used again.
pub(crate) async fn body_of(
    response: Result<reqwest::Response, reqwest::Error>,
) -> Result<Vec<u8>, ReadFailure> {
    let response = response.map_err(|_| ReadFailure::Unanswered)?;
    let status = response.status();
    let body = response.bytes().await.map_err(|_| ReadFailure::Unanswered)?;
    if status == reqwest::StatusCode::OK {
        Ok(body.to_vec())
    } else {
        Err(ReadFailure::Refused { status: status.as_u16() })
    }
}

/// Puts what GET /tasks/{id} showed into the book.
pub(crate) fn note_task(book: &Book, begun: Begun, asked: &str, body: &[u8]) {
    match serde_json::from_slice::<TaskView>(body) {
        Ok(task) => book.read_task(begun, asked, &task.id, task.seen()),
        Err(_) => book.failed_read(begun, ReadFailure::Unanswered),
    }
}

/// Puts what GET /tasks showed to `owner` into the book.
pub(crate) fn note_page(book: &Book, begun: Begun, owner: usize, body: &[u8]) {
    let Ok(page) = serde_json::from_slice::<PageView>(body) else {
        return book.failed_read(begun, ReadFailure::Unanswered);
    };
    if page.tasks.is_empty() && page.next_cursor.is_none() {
        return book.read_nothing(begun, owner);
    }
    let tasks: Vec<_> = page.tasks.iter().map(|task| (task.id.clone().into_owned(), task.seen())).collect();
    book.read_page(begun, owner, &tasks);
}

/// What became of one POST.
pub(crate) async fn outcome_of(
    response: Result<reqwest::Response, reqwest::Error>,
) -> (Outcome, Option<Seen>) {
    let response = match response {
        Ok(response) => response,
        Err(error) => return (wire::unknown(transport_reason(&error)), None),
    };
    let status = response.status().as_u16();
    match response.bytes().await {
        Ok(body) => wire::judge_answer(status, &body),
        Err(error) => (wire::unknown(format!("status {status}, then {}", transport_reason(&error))), None),
    }
}

fn transport_reason(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "no connection"
    } else {
        "broken connection"
    }
}

enum Tokens {
    Minted(Minter, Duration),
    /// The service files every task under the owner that the token names.
    Given {
        owner: String,
        token: String,
    },
}

impl Tokens {
    fn of(stack: &Stack, plan: &LoadPlan) -> Result<Self, LoadError> {
        if let Some(minter) = minter(stack)? {
            return Ok(Self::Minted(minter, plan.duration + TOKEN_SLACK));
        }
        let (token, claims) = given_token()?;
        if plan.owners != 1 {
            return Err(LoadError::OneTokenManyOwners { variable: TOKEN_VARIABLE, owners: plan.owners });
        }
        let needed = plan.duration + GIVEN_TOKEN_SLACK;
        if let Some(left) = claims.left().filter(|left| *left < needed) {
            let (left_seconds, needed_seconds) = (left.as_secs(), needed.as_secs());
            return Err(LoadError::TokenEnds { variable: TOKEN_VARIABLE, left_seconds, needed_seconds });
        }
        Ok(Self::Given { owner: claims.sub, token })
    }

    fn owners(&self, stack: &Stack, names: impl Iterator<Item = String>) -> Result<Vec<Owner>, LoadError> {
        names
            .map(|name| {
                let (name, token) = match self {
                    Self::Minted(minter, ttl) => {
                        let token = minter.token(&name, *ttl);
                        (name, token)
                    }
                    Self::Given { owner, token } => (owner.clone(), token.clone()),
                };
                let authorization = authorization(&token)?;
                // A JWT is base64url and dots: it needs no escapes in a query.
                let socket_url = format!("{}?token={token}", stack.websocket_url);
                Ok(Owner { name, authorization, socket_url })
            })
            .collect()
    }
}
