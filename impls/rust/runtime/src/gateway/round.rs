//! What a legacy server asked in the middle of a modern client's call: collected into rounds, answered by the retry.
//!
//! The rules: what was asked and is not answered yet is asked again, under the key that it had; an answer to what
//! nobody asked is ignored; the server gets each answer once, by the id that it gave.

use std::sync::Mutex;

use super::asking::Question;
use crate::clock::lock;
use crate::translate::rounds::{self, Asked};

/// Questions of one call at once, at most.
const OPEN: usize = 64;

/// The questions of one call.
#[derive(Debug)]
pub(crate) struct Round {
    /// The client's capabilities, JSON.
    pub(super) capabilities: Box<[u8]>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    open: Vec<(String, Question)>,
}

impl Round {
    pub(crate) fn new(capabilities: &[u8]) -> Self {
        Self {
            capabilities: capabilities.into(),
            state: Mutex::default(),
        }
    }

    /// One more question; given back if there are too many.
    pub(super) fn ask(&self, question: Question) -> Result<(), Question> {
        let mut state = lock(&self.state);
        if state.open.len() >= OPEN {
            return Err(question);
        }
        state.last += 1;
        let key = rounds::input_key(state.last);
        state.open.push((key, question));
        Ok(())
    }

    pub(super) fn is_open(&self) -> bool {
        !lock(&self.state).open.is_empty()
    }

    /// What the client is asked now.
    pub(super) fn asked(&self) -> Vec<Asked> {
        let state = lock(&self.state);
        let open = state.open.iter();
        open.map(|(key, question)| Asked {
            key: key.clone(),
            method: question.method.to_string(),
            params: question.params.as_ref().map(|params| params.to_vec()),
        })
        .collect()
    }

    /// Passes the client's answers on; how many of them were wanted.
    pub(super) fn answer(&self, responses: &[(String, Vec<u8>)]) -> usize {
        let mut answered = 0;
        for (key, response) in responses {
            let question = {
                let mut state = lock(&self.state);
                let at = state.open.iter().position(|(open, _)| open == key);
                at.map(|at| state.open.remove(at).1)
            };
            if let Some(question) = question {
                question.asker.answer(&question.id, "result", response);
                answered += 1;
            }
        }
        answered
    }

    /// The server does not want to know any more what it asked as `id`.
    pub(super) fn withdrawn(&self, id: &[u8]) -> bool {
        let mut state = lock(&self.state);
        let before = state.open.len();
        state.open.retain(|(_, question)| *question.id != *id);
        state.open.len() < before
    }

    /// Nobody will answer: the server is told so.
    pub(super) fn refuse(&self, why: &str) -> usize {
        let open = std::mem::take(&mut lock(&self.state).open);
        for (_, question) in &open {
            question.asker.refuse(&question.id, -32603, why);
        }
        open.len()
    }
}
