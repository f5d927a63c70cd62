//! The numbers that own the files of projects: each is given once, and again only
//! when all have been and nothing belongs to it any more.

use std::collections::HashSet;

use sandtree_actors::ports::StoreError;

use super::OwnerRange;
use super::database::{Transaction, args};
use super::sql;

/// The key in `meta` of the number that the next owner gets.
const NEXT_OWNER: &str = "next_owner";

/// The next numbers of the range, fewer than `count` if no more are free.
pub(super) async fn take(
    transaction: &mut impl Transaction,
    range: OwnerRange,
    count: usize,
) -> Result<Vec<u32>, StoreError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let (first, end) = (i64::from(range.first), range.end());
    let next = transaction.fetch(sql::META, args![NEXT_OWNER]).await?.pop();
    let next = next.and_then(|(text,): (String,)| text.parse::<i64>().ok());
    let next = next.unwrap_or(first).max(first).min(end);
    let from = next.saturating_add_unsigned(count as u64).min(end);
    // As a rule nothing in this window is in use.
    let used: Vec<(i64,)> = transaction.fetch(sql::OWNERS_IN_USE, args![next, from]).await?;
    let used = used.into_iter().collect::<HashSet<_>>();
    let mut numbers = (next..from).filter(|number| !used.contains(&(*number,))).collect::<Vec<_>>();
    // What is left to look at, the last first.
    let mut rest = [(first, next), (from, end)].to_vec();
    while let (true, Some((from, end))) = (numbers.len() < count, rest.last_mut()) {
        match free(transaction, *from, *end).await? {
            Some(number) => {
                numbers.push(number);
                *from = number + 1;
            }
            None => drop(rest.pop()),
        }
    }
    if let Some(last) = numbers.last() {
        let next = (last + 1).to_string();
        transaction.execute(sql::META_SET, args![NEXT_OWNER, next]).await?;
    }
    Ok(numbers.into_iter().filter_map(|number| u32::try_from(number).ok()).collect())
}

async fn free(
    transaction: &mut impl Transaction,
    from: i64,
    end: i64,
) -> Result<Option<i64>, StoreError> {
    if from >= end {
        return Ok(None);
    }
    let used: Vec<(i64,)> = transaction.fetch(sql::OWNER_IN_USE, args![from]).await?;
    if used.is_empty() {
        return Ok(Some(from));
    }
    let after: Vec<(i64,)> = transaction.fetch(sql::OWNER_AFTER, args![from, end]).await?;
    Ok(after.first().map(|(number,)| *number))
}
