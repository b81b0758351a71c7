//! Who a container runs as, from the config, the image and the image's account files.

use super::{SpecError, invalid};
use k8s_cri::v1::{LinuxContainerSecurityContext, SupplementalGroupsPolicy};
use oci_spec::runtime::{User, UserBuilder};

/// A resolved user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Ids.
    pub user: User,
    /// Home directory.
    pub home: String,
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields[..] else { return None };
        Some(Account { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
    })
}

fn groups(group: &str) -> impl Iterator<Item = (&str, u32, Vec<&str>)> {
    group.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, gid, members, ..] = fields[..] else { return None };
        Some((name, gid.parse().ok()?, members.split(',').filter(|m| !m.is_empty()).collect()))
    })
}

fn id(field: &'static str, value: i64) -> Result<u32, SpecError> {
    u32::try_from(value)
        .ok()
        .filter(|id| *id <= i32::MAX as u32)
        .ok_or_else(|| invalid(field, format!("{value} is not an id")))
}

/// Resolves the user. `image_user` is the image's `user[:group]`, either as names or numbers.
pub fn identity(
    security: &LinuxContainerSecurityContext,
    image_user: Option<&str>,
    passwd: &str,
    group: &str,
) -> Result<Identity, SpecError> {
    let configured = match (&security.run_as_user, security.run_as_username.as_str()) {
        (Some(uid), _) => Some(uid.value.to_string()),
        (None, "") => None,
        (None, name) => Some(name.to_owned()),
    };
    if configured.is_none() && security.run_as_group.is_some() {
        return Err(invalid("run_as_group", "needs run_as_user or run_as_username"));
    }
    let (user, image_group) = match (configured, image_user.filter(|u| !u.is_empty())) {
        (Some(user), _) => (user, None),
        (None, Some(of_image)) => {
            let (user, group) =
                of_image.split_once(':').map_or((of_image, None), |(u, g)| (u, Some(g)));
            (user.to_owned(), group)
        }
        (None, None) => ("0".to_owned(), None),
    };
    let account = find_account(&user, passwd)?;
    let gid = match (&security.run_as_group, image_group) {
        (Some(gid), _) => id("run_as_group", gid.value)?,
        (None, Some(name)) => find_group(name, group)?,
        (None, None) => account.gid,
    };
    let mut all = vec![gid];
    if security.supplemental_groups_policy() == SupplementalGroupsPolicy::Merge {
        all.extend(
            groups(group)
                .filter(|(_, _, members)| {
                    !account.name.is_empty() && members.contains(&account.name)
                })
                .map(|(_, gid, _)| gid),
        );
    }
    for gid in &security.supplemental_groups {
        all.push(id("supplemental_groups", *gid)?);
    }
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|gid| seen.insert(*gid));
    let user = UserBuilder::default().uid(account.uid).gid(gid).additional_gids(all).build();
    let home = if account.home.is_empty() { "/" } else { account.home };
    Ok(Identity {
        user: user.map_err(|e| invalid("run_as_user", e.to_string()))?,
        home: home.to_owned(),
    })
}

fn find_account<'a>(user: &str, passwd: &'a str) -> Result<Account<'a>, SpecError> {
    if let Some(account) = accounts(passwd).find(|a| a.name == user) {
        return Ok(account);
    }
    let Ok(number) = user.parse::<i64>() else {
        return Err(invalid(
            "run_as_username",
            format!("unable to find user {user}: no matching entries in passwd file"),
        ));
    };
    let uid = id("run_as_user", number)?;
    let root_home = if uid == 0 { "/root" } else { "/" };
    Ok(accounts(passwd).find(|a| a.uid == uid).unwrap_or(Account {
        name: "",
        uid,
        gid: 0,
        home: root_home,
    }))
}

fn find_group(name: &str, group: &str) -> Result<u32, SpecError> {
    if let Some((_, gid, _)) = groups(group).find(|(known, _, _)| *known == name) {
        return Ok(gid);
    }
    let number = name.parse::<i64>();
    number.map_or_else(
        |_| {
            Err(invalid(
                "run_as_group",
                format!("unable to find group {name}: no matching entries in group file"),
            ))
        },
        |number| id("run_as_group", number),
    )
}
