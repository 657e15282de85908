//! A call that can be made again later and comes out the same: the random source and the clock are those of the call.

use std::cell::RefCell;
use std::future::Future;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

/// Under which calls are judged. Grows by one when a call that was accepted before would now be refused or come out
/// differently: what makes the difference asks `is_older_than` first.
pub(crate) const RULES: u32 = 5;

tokio::task_local! {
    static CALL: Call;
}

struct Call {
    random: RefCell<ChaCha12Rng>,
    /// None: the time is now.
    now_ms: Option<i64>,
    /// Of a call that is made again: the rules under which it was accepted.
    accepted_under: Option<u32>,
}

/// Runs a call whose random choices all come from `seed`, at one moment if `now_ms` names it: the call must not wait for
/// a later one. What it spawns is not part of it.
pub async fn scope<F: Future>(seed: u64, now_ms: Option<i64>, call: F) -> F::Output {
    let random = RefCell::new(ChaCha12Rng::seed_from_u64(seed));
    CALL.scope(Call { random, now_ms, accepted_under: None }, call).await
}

/// The same for a call that is made again, and was accepted under these rules by an earlier process.
pub(crate) async fn scope_again<F: Future>(rules: u32, seed: u64, now_ms: i64, call: F) -> F::Output {
    let random = RefCell::new(ChaCha12Rng::seed_from_u64(seed));
    let again = Call { random, now_ms: Some(now_ms), accepted_under: Some(rules) };
    CALL.scope(again, call).await
}

/// The time of the call that is made again.
pub(crate) fn now_ms() -> Option<i64> {
    CALL.try_with(|call| call.now_ms).ok().flatten()
}

/// Whether this call was made before, by an earlier process, and accepted.
pub(crate) fn is_repeated() -> bool {
    accepted_under().is_some()
}

/// Whether it was accepted before there were these rules.
pub(crate) fn is_older_than(rules: u32) -> bool {
    accepted_under().is_some_and(|accepted_under| accepted_under < rules)
}

fn accepted_under() -> Option<u32> {
    CALL.try_with(|call| call.accepted_under).ok().flatten()
}

/// The generator of the call, inside of one.
pub(crate) fn with_random<T, F: FnOnce(&mut ChaCha12Rng) -> T>(choose: F) -> Result<T, F> {
    let mut choose = Some(choose);
    let chosen = CALL.try_with(|call| {
        let choose = choose.take()?;
        Some(choose(&mut call.random.borrow_mut()))
    });
    match (chosen, choose) {
        (Ok(Some(chosen)), _) => Ok(chosen),
        (_, Some(choose)) => Err(choose),
        (_, None) => unreachable!("the choice is either made or still there"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::settings::Random;

    #[tokio::test]
    async fn a_call_made_again_chooses_the_same_at_the_same_time() {
        use rand::RngExt as _;
        let random = Random::from_seed(1);
        let choose = || async { random.with(|random| random.random::<u64>()) };
        let first = scope(9, None, choose()).await;
        assert_ne!(choose().await, choose().await, "outside of a call the source goes on");
        assert_eq!(scope(9, None, choose()).await, first);
        let then = scope(9, Some(1_000), async { Clock::System.now_ms() }).await;
        assert_eq!(then, 1_000);
        assert_ne!(Clock::System.now_ms(), 1_000);
        assert_eq!(scope_again(RULES, 9, 1_000, choose()).await, first);
    }

    #[tokio::test]
    async fn only_a_call_that_is_made_again_was_accepted_before() {
        let asked = || async { (is_repeated(), is_older_than(RULES)) };
        assert_eq!(scope(9, Some(1_000), asked()).await, (false, false));
        assert_eq!(scope_again(RULES, 9, 1_000, asked()).await, (true, false));
        assert_eq!(scope_again(RULES - 1, 9, 1_000, asked()).await, (true, true));
        assert_eq!(asked().await, (false, false));
    }
}
