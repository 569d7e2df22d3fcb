//! Any stream, any client and any fault: what the client may believe is true.

use proptest::prelude::*;
use tower_persistence::testing::{Fault, Faulty};
use tower_persistence::{Database, MemoryDb, OnHangUp, PersistenceLayer, TurnEnd};

use super::script::Step::*;
use super::script::*;

const DONE: &str = "[DONE]";

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "c"]).prop_map(Write),
        4 => prop::sample::select(vec!["1", "2", ""]).prop_map(Say),
        1 => Just(Finish),
        1 => Just(Fail),
        1 => Just(Trailers),
    ]
}

/// A marker stands behind each `Finish`, as an app has it.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 0..8).prop_map(|steps| {
        let marked = steps.into_iter().flat_map(|step| match step {
            Finish => vec![Finish, Say(DONE)],
            step => vec![step],
        });
        marked.collect()
    })
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        3 => Just(Fault::None),
        1 => Just(Fault::ErrorBefore),
        1 => Just(Fault::ErrorAfter),
        1 => Just(Fault::Conflict),
        1 => Just(Fault::Delay(std::time::Duration::from_secs(1))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_clean_end_and_a_marker_mean_that_the_turn_is_stored(
        steps in steps(),
        fault in fault(),
        reads in prop::option::of(0_usize..6),
        discards in any::<bool>(),
        save_on_error in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let items = MemoryDb::new();
            let db = Faulty::new(items.clone());
            db.script([Fault::None, fault]);
            let on_hang_up = if discards { OnHangUp::Discard } else { OnHangUp::Save };
            let layer = PersistenceLayer::new(db.clone())
                .turn_end(TurnEnd::Body)
                .save_on_error(save_on_error)
                .on_hang_up(on_hang_up);
            let scene = Scene::new();
            let app = scene.app(&layer, &steps);
            let mut client = Client::ask(&app).await;
            let (mut read, mut is_clean) = (Vec::new(), false);
            if client.status == 200 {
                while reads.is_none_or(|reads| read.len() < reads) {
                    match client.next().await {
                        None => {
                            is_clean = true;
                            break;
                        }
                        Some(frame) => read.push(frame),
                    }
                    if read.last().unwrap() == "!" {
                        break;
                    }
                }
            }
            drop(client);
            let result = scene.turn().finish().await;
            // A fault that the turn did not meet is not left for the next one.
            let _ = db.load("user-2").await;
            let stored = said(&items).await;
            let written = scene.written();
            // All of the turn or nothing.
            if let Some(stored) = &stored {
                assert_eq!(*stored, written);
            }
            let is_finished = read.iter().any(|frame| frame == DONE);
            let failed_to_finish = scene.notes().contains("database");
            if is_clean || (is_finished && !failed_to_finish) {
                assert_eq!(stored.as_ref(), Some(&written), "{read:?}");
            }
            if result.is_ok() {
                assert_eq!(stored.as_ref(), Some(&written), "{read:?}");
            }
            // No place is held.
            let next = scene.app(&layer, &[Write("z"), Say("next")]);
            assert_eq!(Client::ask(&next).await.rest().await, "next");
            assert_eq!(said(&items).await.unwrap(), format!("{}z", stored.unwrap_or_default()));
        });
    }
}
