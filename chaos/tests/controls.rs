//! Every positive control: a harness that has never caught anything proves nothing.
//!
//! `make controls` runs it, for about ten minutes; it needs the release binaries, the worker that is wrong on purpose
//! among them, and Terraform.

mod support;

use support::{Stack, capacity, controls};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and needs the release binaries and Terraform: `make controls` runs it"]
async fn every_broken_service_is_caught_by_the_experiment_meant_for_it_and_by_no_other() {
    let stack = Stack::up();
    for control in &controls::ALL {
        println!("a service that {}", control.name);
        controls::is_caught(&stack, control).await;
    }
    println!("a worker that dies in the middle");
    controls::a_crashing_worker_is_survived(&stack).await;
    println!("a table whose capacity is cut");
    capacity::a_cut_of_provisioned_capacity_is_survived(&stack).await;
    assert_eq!(stack.planned_changes(), Some(0), "mending must leave no drift");
    drop(stack);
    println!("a fault that nobody meets");
    controls::a_fault_that_nobody_meets_is_no_pass(&Stack::up_with(&["--fis-ramps"])).await;
}
