//! Why a run could not be done.

use crate::stack::StackError;
use crate::token::TokenError;

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the plan's `{field}` {problem}")]
    Plan { field: &'static str, problem: String },
    #[error("cannot use the stack")]
    Stack(#[from] StackError),
    #[error("cannot make tokens")]
    Token(#[from] TokenError),
    #[error("the stack has no private key and {variable} is not set, so that no request can be authorised")]
    NoToken { variable: &'static str },
    #[error("the stack has no private key: its tokens come from elsewhere")]
    NoKey,
    #[error("{variable} holds the token of one owner, but the plan has {owners}")]
    OneTokenManyOwners { variable: &'static str, owners: u32 },
    #[error("the token in {variable} is no JWT whose `sub` names an owner")]
    NoSubject { variable: &'static str },
    #[error("the token in {variable} ends in {left_seconds} s, and the run needs it for {needed_seconds} s")]
    TokenEnds { variable: &'static str, left_seconds: u64, needed_seconds: u64 },
    #[error("the token in {variable} does not fit into a header")]
    UnreadableToken { variable: &'static str },
    #[error("another load run is under way in this process, and goose can do one at a time")]
    Busy,
    #[error("cannot build the HTTP client")]
    HttpClient(#[source] reqwest::Error),
    #[error("a client of the bench ended early: {0}")]
    Client(String),
    #[error("owner {owner} could not open its WebSocket session: {reason}")]
    Connect { owner: String, reason: String },
    #[error("goose could not run the attack: {reason}")]
    Goose { reason: String },
    #[error("goose did not end within {waited_seconds} s after the last arrival")]
    GooseStuck { waited_seconds: u64 },
}
