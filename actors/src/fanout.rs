//! stub
use crate::view::Cursor;
use bytes::Bytes;
use sandtree_model::ExitStatus;
pub(crate) struct Fanout;
pub(crate) struct FanoutReader;
pub(crate) enum FanoutItem {
    Bytes(Bytes),
    Gap { bytes: u64 },
    Ended(ExitStatus),
}
impl Fanout {
    pub(crate) fn new(_epoch: u64, _start: u64, _ring: usize) -> Self {
        Self
    }
    pub(crate) fn push_at(&self, _offset: u64, _bytes: Bytes) {}
    pub(crate) fn end(&self, _status: ExitStatus) {}
    pub(crate) fn end_cursor(&self) -> Cursor {
        Cursor { epoch: 0, offset: 0 }
    }
    pub(crate) fn reader(&self, _at: Cursor) -> FanoutReader {
        FanoutReader
    }
}
impl FanoutReader {
    pub(crate) async fn next(&mut self) -> Option<FanoutItem> {
        None
    }
}
