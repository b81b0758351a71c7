//! `knarr image`: the images of a local cluster's nodes.
//!
//! The image store is made for several processes, so these commands work on it directly, whether or not the node runs.

use anyhow::{Context, Result, bail};
use runtime::images::{ImageStore, ImportOptions};

use crate::cli::{ImageArgs, ImageCommand};
use crate::cluster::Cluster;
use crate::progress::Progress;

/// Runs one of the commands on each node it is for.
///
/// # Errors
/// When there is no such cluster, node or image, or an archive or a registry is at fault.
pub async fn run(command: ImageCommand) -> Result<()> {
    match command {
        ImageCommand::Ls(args) => list(&args),
        ImageCommand::Import { nodes, path, tag } => {
            let options = ImportOptions { name: tag };
            for (node, store) in stores(&nodes)? {
                let names =
                    store.import(&path, &options).with_context(|| path.display().to_string())?;
                println!("{node}: imported {}", names.join(", "));
            }
            Ok(())
        }
        ImageCommand::Pull { nodes, reference } => {
            let progress = Progress::start();
            for (node, store) in stores(&nodes)? {
                let what = format!("{node}: pull {reference}");
                progress.step(&what, store.pull(&reference, None, None)).await?;
            }
            Ok(())
        }
        ImageCommand::Rm { nodes, reference } => remove(&nodes, &reference),
    }
}

/// The image stores of the nodes a command is for.
fn stores(args: &ImageArgs) -> Result<Vec<(String, ImageStore)>> {
    let cluster = Cluster::existing(&args.cluster.name, args.cluster.data_dir.as_deref())?;
    let mut names = cluster.node_names();
    if let Some(node) = &args.node {
        if !names.contains(node) {
            bail!("there is no node {node:?}; the nodes are {}", names.join(", "));
        }
        names = vec![node.clone()];
    }
    let open = |name: String| {
        let root = cluster.node_dir(&name).join("runtime");
        let store = ImageStore::open(root).with_context(|| format!("the images of {name}"))?;
        Ok((name, store))
    };
    names.into_iter().map(open).collect()
}

fn list(args: &ImageArgs) -> Result<()> {
    let stores = stores(args)?;
    let several = stores.len() > 1;
    for (node, store) in &stores {
        if several {
            println!("{node}:");
        }
        println!("{:<50} {:<20} {:<14} {:>10}", "IMAGE", "TAG", "IMAGE ID", "SIZE");
        for image in store.list()? {
            let id = image.id.trim_start_matches("sha256:");
            let id = &id[..id.len().min(12)];
            for name in names(&image.repo_tags) {
                let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "<none>"));
                println!("{repository:<50} {tag:<20} {id:<14} {:>10}", size(image.size));
            }
        }
    }
    Ok(())
}

/// The names of an image; one that lost its names is still listed.
fn names(tags: &[String]) -> Vec<&str> {
    match tags.is_empty() {
        true => vec!["<none>:<none>"],
        false => tags.iter().map(String::as_str).collect(),
    }
}

fn remove(args: &ImageArgs, reference: &str) -> Result<()> {
    let mut found = false;
    for (node, store) in stores(args)? {
        if store.resolve(reference).is_none() {
            continue;
        }
        found = true;
        let removed = store.remove(reference).with_context(|| format!("{node}: {reference}"))?;
        println!("{node}: removed {}", removed.join(", "));
    }
    match found {
        true => Ok(()),
        false => bail!("no image {reference:?}; `knarr image ls` shows what there is"),
    }
}

/// Bytes as `docker images` shows them.
fn size(bytes: u64) -> String {
    let units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    let fits = units.iter().find(|(_, unit)| bytes as f64 >= *unit);
    match fits {
        Some((name, unit)) => format!("{:.1}{name}", bytes as f64 / unit),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_read_as_docker_prints_them() {
        let table = [
            (0, "0B"),
            (999, "999B"),
            (1500, "1.5kB"),
            (13_000_000, "13.0MB"),
            (2_100_000_000, "2.1GB"),
        ];
        for (bytes, text) in table {
            assert_eq!(super::size(bytes), text);
        }
    }
}
