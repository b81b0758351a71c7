//! Arguments, variables and working directory: the config's over the image's.

use super::{SpecError, invalid};
use k8s_cri::v1::ContainerConfig;
use oci_spec::image::Config as ImageConfig;
use std::path::PathBuf;

/// Used when neither config nor image set one, as containerd does.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The argument vector, by the CRI's rules: `command` replaces the image's entrypoint and its cmd, `args` only its cmd.
pub fn args(
    config: &ContainerConfig,
    image: Option<&ImageConfig>,
) -> Result<Vec<String>, SpecError> {
    let of_image = |list: Option<&Vec<String>>| list.cloned().unwrap_or_default();
    let (mut command, mut args) = (config.command.clone(), config.args.clone());
    if command.is_empty() {
        if args.is_empty() {
            args = of_image(image.and_then(|i| i.cmd().as_ref()));
        }
        command = of_image(image.and_then(|i| i.entrypoint().as_ref()));
    }
    command.extend(args);
    if command.first().is_none_or(String::is_empty) {
        return Err(SpecError::NoCommand);
    }
    Ok(command)
}

/// The variables: terminal, hostname, then the image's, then the config's, each name once; then defaults for what is missing.
pub fn env(
    config: &ContainerConfig,
    image: Option<&ImageConfig>,
    hostname: &str,
    home: &str,
) -> Result<Vec<String>, SpecError> {
    let mut env: Vec<String> = Vec::new();
    if config.tty {
        set(&mut env, "TERM=xterm".into());
    }
    set(&mut env, format!("HOSTNAME={hostname}"));
    for variable in image.and_then(|i| i.env().as_ref()).into_iter().flatten() {
        set(&mut env, variable.clone());
    }
    for variable in &config.envs {
        if variable.key.is_empty()
            || variable.key.contains(['=', '\0'])
            || variable.value.contains('\0')
        {
            return Err(invalid(
                "envs",
                format!("{:?} is not the name of a variable", variable.key),
            ));
        }
        set(&mut env, format!("{}={}", variable.key, variable.value));
    }
    for default in [DEFAULT_PATH.to_owned(), format!("HOME={home}")] {
        let name = name_of(&default).len();
        if !env.iter().any(|v| name_of(v) == &default[..name]) {
            env.push(default);
        }
    }
    Ok(env)
}

fn name_of(variable: &str) -> &str {
    variable.split_once('=').map_or(variable, |(name, _)| name)
}

fn set(env: &mut Vec<String>, variable: String) {
    match env.iter_mut().find(|v| name_of(v) == name_of(&variable)) {
        Some(existing) => *existing = variable,
        None => env.push(variable),
    }
}

/// The working directory, absolute.
pub fn working_directory(
    config: &ContainerConfig,
    image: Option<&ImageConfig>,
) -> Result<PathBuf, SpecError> {
    let of_image = image.and_then(|i| i.working_dir().as_deref()).filter(|d| !d.is_empty());
    let directory =
        Some(config.working_dir.as_str()).filter(|d| !d.is_empty()).or(of_image).unwrap_or("/");
    if !directory.starts_with('/') {
        return Err(invalid("working_dir", format!("{directory:?} is not absolute")));
    }
    Ok(directory.into())
}
