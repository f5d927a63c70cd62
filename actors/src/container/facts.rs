//! What happens by itself: to the container, to the link, and to what is in the sandbox.

use std::sync::Arc;

use sandtree_model::Phase;
use sandtree_wire::Notice;

use super::{State, Up};
use crate::link::LinkNews;
use crate::ports::WhatHappened;
use crate::project::ProjectMsg;

impl State {
    pub(super) fn up(&mut self, up: Up) {
        self.link = Some(Arc::clone(&up.link));
        // The project supervises this actor and outlives it.
        let _ = self.project.cast(ProjectMsg::Up(up));
        self.answer_leases();
    }

    pub(super) fn happened(&mut self, what: WhatHappened) {
        let row = self.live.row();
        if self.current.is_some() {
            self.happened_meanwhile = Some(what);
            return;
        }
        if row.is_at_rest() {
            return;
        }
        let is_expected = match what {
            WhatHappened::Paused => row.phase == Phase::Paused,
            WhatHappened::Resumed | WhatHappened::Started => row.phase == Phase::Running,
            WhatHappened::OutOfMemory => true,
            WhatHappened::Died | WhatHappened::Removed => false,
        };
        if !is_expected {
            self.begin(None);
        }
    }

    pub(super) fn news(&mut self, number: u64, news: LinkNews) {
        if self.link.as_ref().is_none_or(|link| link.number != number) {
            return;
        }
        match news {
            LinkNews::Notice(Notice::JobEnded(job)) => {
                let _ = self.project.cast(ProjectMsg::JobEnded(job));
            }
            LinkNews::Lost => {
                self.lost_link();
                self.settle();
            }
        }
    }

    fn lost_link(&mut self) {
        if self.link.take().is_some() {
            let _ = self.project.cast(ProjectMsg::Down);
        }
    }
}
