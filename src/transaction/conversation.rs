//! The conversation of a turn: a record beside the user's, loaded when the handler asks for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

use super::{DiscardOnDrop, Shared, UserGuard, load};
use crate::database::Database;
use crate::error::{Error, Kind};
use crate::incoming::Recognised;
use crate::observe::Observer;
use crate::stored_elements::StoredElements;
use crate::turn::{Basis, Conversation, OpenConversation, Turn};

/// The conversation of one attempt.
pub(super) struct ConversationSlot<D> {
    shared: Arc<Shared<D>>,
    /// The event with the conversation in the user's place.
    event: Box<Recognised>,
    observer: Observer,
    /// Set if an earlier attempt has stored what the event did to the conversation.
    is_applied: bool,
    opened: OnceCell<Arc<Turn>>,
    place: Mutex<Place>,
}

/// The conversation's place among its turns.
enum Place {
    /// Not taken yet.
    Free,
    /// Not taken, or given back: the conversation's other turns do not wait for this one.
    Left,
    Held(#[allow(dead_code, reason = "held until it is dropped")] UserGuard),
    /// The turn has ended.
    Closed,
}

impl<D: Database> ConversationSlot<D> {
    /// Makes the slot of the event's conversation, if it has one.
    pub(super) fn new(
        shared: &Arc<Shared<D>>,
        event: &Recognised,
        observer: &Observer,
        is_applied: bool,
    ) -> Option<Arc<Self>> {
        // Work after the reply does not hold up other turns.
        let place = if event.left.is_some() { Place::Left } else { Place::Free };
        Some(Arc::new(Self {
            shared: Arc::clone(shared),
            event: event.of_conversation()?,
            observer: observer.clone(),
            is_applied,
            opened: OnceCell::new(),
            place: Mutex::new(place),
        }))
    }

    async fn load(&self) -> Result<Arc<Turn>, Error> {
        let Shared { config, locks, .. } = &*self.shared;
        let Some(conversation) = &self.event.user else { return Err(ended()) };
        let key = &conversation.storage_key;
        if matches!(*self.place(), Place::Free) {
            let guard = locks.queue(key).wait(config.queue_timeout).await?;
            let mut place = self.place();
            match *place {
                Place::Closed => return Err(ended()),
                Place::Left => {}
                Place::Free | Place::Held(_) => *place = Place::Held(guard),
            }
        }
        let basis = load::load(&self.shared, key, &self.observer).await?;
        if let Basis::Record(stored) = &basis {
            stored.record.check_conversation()?;
        }
        let elements = StoredElements {
            user: false,
            session: None,
            history: None,
            meta_data: false,
            ..(*config.stored_elements).clone()
        };
        let (event, clock) = (self.event.clone(), Arc::clone(&config.clock));
        let database_id = self.shared.database_id();
        Ok(Turn::begin(event, basis, &Arc::new(elements), database_id, clock))
    }

    /// Ends the access to the conversation, and returns its turn if there is something to store.
    pub(super) fn close(&self) -> Closed {
        let place = std::mem::replace(&mut *self.place(), Place::Closed);
        let turn = self.opened.get().map(|turn| DiscardOnDrop(Arc::clone(turn)));
        // What is noted as done is not applied again.
        let turn = turn.filter(|turn| !self.is_applied && turn.0.was_handled().is_none());
        Closed { turn, _place: place }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slot of an attempt, which is closed without storing anything when this is dropped.
pub(super) struct CloseOnDrop<D: Database>(pub(super) Option<Arc<ConversationSlot<D>>>);

impl<D: Database> CloseOnDrop<D> {
    /// Returns the handle for the handler.
    pub(super) fn handle(&self) -> Option<Conversation> {
        self.0.as_ref().map(|slot| Conversation(Arc::clone(slot) as Arc<dyn OpenConversation>))
    }

    /// Ends the access to the conversation.
    pub(super) fn close(&self) -> Option<Closed> {
        self.0.as_ref().map(|slot| slot.close())
    }
}

impl<D: Database> Drop for CloseOnDrop<D> {
    fn drop(&mut self) {
        drop(self.close());
    }
}

/// The conversation after the handler, with its place, which is held until this is dropped.
pub(super) struct Closed {
    pub(super) turn: Option<DiscardOnDrop>,
    _place: Place,
}

impl<D: Database> OpenConversation for ConversationSlot<D> {
    fn id(&self) -> &str {
        self.event.user.as_ref().map_or("", |conversation| &conversation.id)
    }

    fn platform(&self) -> &str {
        &self.event.platform.name
    }

    fn leave(&self) {
        let mut place = self.place();
        if !matches!(*place, Place::Closed) {
            *place = Place::Left;
        }
    }

    fn open(&self) -> BoxFuture<'_, Result<Arc<Turn>, Error>> {
        Box::pin(async {
            if let Place::Closed = *self.place() {
                return Err(ended());
            }
            let turn = self.opened.get_or_try_init(|| self.load()).await?;
            // The turn may have ended meanwhile.
            match *self.place() {
                Place::Closed => {
                    turn.discard();
                    Err(ended())
                }
                Place::Free | Place::Left | Place::Held(_) => Ok(Arc::clone(turn)),
            }
        })
    }
}

fn ended() -> Error {
    let message = "the turn has ended: load the conversation before the handler answers";
    Error::new(Kind::TurnEnded, message)
}
