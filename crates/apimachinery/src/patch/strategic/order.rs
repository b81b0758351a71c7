//! The order of a merged list: items that the patch mentions keep the patch's order, items only the server knows keep the
//! server's, and the two are interleaved by the server's order where it tells.

use serde_json::Value;

use super::{DIRECTIVE, List, bad_format, no_merge_key};
use crate::patch::PatchError;

/// What identifies an item: its merge key's value, or the scalar itself.
fn identity<'v>(item: &'v Value, merge_key: Option<&str>) -> Option<&'v Value> {
    match merge_key {
        Some(key) if item.is_object() => item.get(key),
        _ => Some(item),
    }
}

fn position(list: &[Value], item: &Value, merge_key: Option<&str>) -> Option<usize> {
    let wanted = identity(item, merge_key)?;
    list.iter().position(|other| identity(other, merge_key) == Some(wanted))
}

/// Arranges a merged list; every item must have the merge key.
pub(super) fn arrange(
    merged: List,
    patch_order: &[Value],
    server_order: &[Value],
    merge_key: Option<&str>,
) -> Result<List, PatchError> {
    if let Some(key) = merge_key {
        let keyless = |item: &&Value| item.is_object() && item.get(key).is_none();
        if let Some(item) = merged.iter().chain(patch_order).find(keyless) {
            return Err(no_merge_key(item, key));
        }
    }
    Ok(arranged(merged, patch_order, server_order, merge_key))
}

/// Arranges a merged list of scalars.
pub(super) fn arrange_scalars(merged: List, patch_order: &[Value], server_order: &[Value]) -> List {
    arranged(merged, patch_order, server_order, None)
}

fn arranged(
    merged: List,
    patch_order: &[Value],
    server_order: &[Value],
    merge_key: Option<&str>,
) -> List {
    let mentioned = |item: &Value| position(patch_order, item, merge_key).is_some();
    let (mut patch, mut server): (List, List) = merged.into_iter().partition(mentioned);
    patch.sort_by_key(|item| position(patch_order, item, merge_key));
    server.sort_by_key(|item| position(server_order, item, merge_key).unwrap_or(usize::MAX));
    interleave(server, patch, server_order, merge_key)
}

/// Puts each server-only item before the first item of the patch that comes after it on the server.
fn interleave(server: List, patch: List, server_order: &[Value], merge_key: Option<&str>) -> List {
    let place = |item: &Value| position(server_order, item, merge_key);
    let mut result = List::with_capacity(server.len() + patch.len());
    let mut server = server.into_iter().peekable();
    for item in patch {
        let after = place(&item);
        while let Some(other) =
            server.next_if(|other| place(other).zip(after).is_some_and(|(a, b)| a < b))
        {
            result.push(other);
        }
        result.push(item);
    }
    result.extend(server);
    result
}

/// Checks that the items of a patch appear in the order that the patch itself sets.
pub(super) fn check(
    patch: &[Value],
    wanted: &[Value],
    merge_key: Option<&str>,
) -> Result<(), PatchError> {
    if patch.is_empty() || wanted.is_empty() {
        return Ok(());
    }
    let mut rest = wanted.iter();
    for item in patch.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        let found = rest.any(|other| identity(other, merge_key) == identity(item, merge_key));
        if !found {
            return Err(bad_format("setElementOrder list"));
        }
    }
    Ok(())
}
