//! Indexes of pods as text: `1,3-5,7`.
//!
//! Counterpart in Kubernetes: `validateIndexesFormat` and its neighbours in `pkg/apis/batch/validation`.

/// How many indexes the text names; all are below `completions` and rise.
pub(super) fn count(text: &str, completions: i32) -> Result<i32, String> {
    let mut last = None;
    let mut total = 0;
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (low, high) = interval(part, completions)?;
        if let Some(last) = last.filter(|last| *last >= low) {
            return Err(rising(last, low));
        }
        total += high - low + 1;
        last = Some(high);
    }
    Ok(total)
}

/// Says at which index two texts overlap; parts that cannot be read are told elsewhere.
pub(super) fn overlap(completed: &str, failed: &str, completions: i32) -> Option<String> {
    let parts = |text: &str| -> Vec<(i32, i32)> {
        text.split(',').filter_map(|part| interval(part, completions).ok()).collect()
    };
    let (completed, failed) = (parts(completed), parts(failed));
    let (mut c, mut f) = (completed.iter().peekable(), failed.iter().peekable());
    while let (Some(done), Some(lost)) = (c.peek(), f.peek()) {
        if done.0 <= lost.1 && lost.0 <= done.1 {
            let at = done.0.max(lost.0);
            return Some(format!("failedIndexes and completedIndexes overlap at index: {at}"));
        }
        if done.0 <= lost.0 {
            c.next();
        } else {
            f.next();
        }
    }
    None
}

fn interval(text: &str, completions: i32) -> Result<(i32, i32), String> {
    let ends: Vec<_> = text.split('-').collect();
    match ends[..] {
        [one] => index(one, completions).map(|n| (n, n)),
        [low, high] => {
            let (low, high) = (index(low, completions)?, index(high, completions)?);
            if low >= high { Err(rising(low, high)) } else { Ok((low, high)) }
        }
        _ => Err(format!(
            "the fragment {text:?} violates the requirement that an index interval can have at most two parts separated by '-'"
        )),
    }
}

fn index(text: &str, completions: i32) -> Result<i32, String> {
    let number: i64 = text
        .parse()
        .map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
    i32::try_from(number)
        .ok()
        .filter(|n| *n < completions)
        .ok_or_else(|| format!("too large index: {text:?}"))
}

fn rising(previous: i32, current: i32) -> String {
    format!("non-increasing order, previous: {previous}, current: {current}")
}
