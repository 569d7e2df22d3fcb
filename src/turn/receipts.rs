//! The mark of records that only receipts have written: their user has not sent anything yet.

use crate::record::Record;

/// The record's field that holds the mark.
const MARK: &str = "receiptsOnly";

pub(super) fn is_marked(record: &Record) -> bool {
    record.get(&[MARK]).is_some()
}

pub(super) fn mark(record: &mut Record) {
    record.set(&[], MARK, true.into());
}

pub(super) fn unmark(record: &mut Record) {
    if record.member(&[], MARK).is_some() {
        record.object_mut(&[]).shift_remove(MARK);
    }
}
