//! Probes and hooks of containers, and the actions they share.
//!
//! Counterpart in Kubernetes: `validateProbe`, `validateLifecycle` and `validateHandler` in `pkg/apis/core/validation`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::names;
use k8s_openapi::api::core::v1::{
    Container, ExecAction, GRPCAction, HTTPGetAction, Lifecycle, LifecycleHandler, Probe,
    SleepAction, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::validation::Context;
use crate::report::{Report, list, text};

const SCHEMES: &[&str] = &["HTTP", "HTTPS"];
const WINDOWS_SIGNALS: &[&str] = &["SIGKILL", "SIGTERM"];

/// The hooks and probes of a container that runs as long as the pod.
pub(super) fn validate_all(
    container: &Container,
    context: &Context,
    at: &Path,
    errors: &mut ErrorList,
) {
    if let Some(lifecycle) = &container.lifecycle {
        validate_lifecycle(lifecycle, context, &at.child("lifecycle"), errors);
    }
    if let Some(probe) = &container.liveness_probe {
        validate_single(probe, context, &at.child("livenessProbe"), errors);
    }
    if let Some(probe) = &container.readiness_probe {
        let at = at.child("readinessProbe");
        validate_probe(probe, context, &at, errors);
        if let Some(seconds) = probe.termination_grace_period_seconds {
            let at = at.child("terminationGracePeriodSeconds");
            errors.invalid(&at, seconds, "must not be set for readinessProbes");
        }
    }
    if let Some(probe) = &container.startup_probe {
        validate_single(probe, context, &at.child("startupProbe"), errors);
    }
}

/// A probe for which the first success counts.
fn validate_single(probe: &Probe, context: &Context, at: &Path, errors: &mut ErrorList) {
    validate_probe(probe, context, at, errors);
    let threshold = probe.success_threshold.unwrap_or(0);
    if threshold != 1 {
        errors.invalid(&at.child("successThreshold"), threshold, "must be 1");
    }
}

fn validate_probe(probe: &Probe, context: &Context, at: &Path, errors: &mut ErrorList) {
    let handler = Handler {
        exec: probe.exec.as_ref(),
        http_get: probe.http_get.as_ref(),
        tcp_socket: probe.tcp_socket.as_ref(),
        grpc: probe.grpc.as_ref(),
        sleep: None,
    };
    handler.validate(context, at, errors);
    for (name, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        errors.non_negative(&at.child(name), value.unwrap_or(0).into());
    }
    if let Some(seconds) = probe.termination_grace_period_seconds.filter(|s| *s <= 0) {
        errors.invalid(
            &at.child("terminationGracePeriodSeconds"),
            seconds,
            "must be greater than 0",
        );
    }
}

fn validate_lifecycle(lifecycle: &Lifecycle, context: &Context, at: &Path, errors: &mut ErrorList) {
    for (name, hook) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
        if let Some(hook) = hook {
            Handler::of_hook(hook).validate(context, &at.child(name), errors);
        }
    }
    if let Some(signal) = &lifecycle.stop_signal {
        validate_stop_signal(signal, context.os, &at.child("stopSignal"), errors);
    }
}

fn validate_stop_signal(signal: &str, os: Option<&str>, at: &Path, errors: &mut ErrorList) {
    match os {
        None => errors.forbidden(at, "may not be set for containers with empty `spec.os.name`"),
        Some("windows") if !WINDOWS_SIGNALS.contains(&signal) => {
            errors.not_supported(at, signal, WINDOWS_SIGNALS)
        }
        Some("linux") if !LINUX_SIGNALS.contains(&signal) => {
            errors.not_supported(at, signal, LINUX_SIGNALS)
        }
        Some(_) => {}
    }
}

/// What a probe or hook does: one action of these.
struct Handler<'a> {
    exec: Option<&'a ExecAction>,
    http_get: Option<&'a HTTPGetAction>,
    tcp_socket: Option<&'a TCPSocketAction>,
    grpc: Option<&'a GRPCAction>,
    sleep: Option<&'a SleepAction>,
}

impl<'a> Handler<'a> {
    fn of_hook(hook: &'a LifecycleHandler) -> Self {
        Self {
            exec: hook.exec.as_ref(),
            http_get: hook.http_get.as_ref(),
            tcp_socket: hook.tcp_socket.as_ref(),
            grpc: None,
            sleep: hook.sleep.as_ref(),
        }
    }

    /// The first action is checked, further ones are forbidden.
    fn validate(&self, context: &Context, at: &Path, errors: &mut ErrorList) {
        let set = [
            ("exec", self.exec.is_some()),
            ("httpGet", self.http_get.is_some()),
            ("tcpSocket", self.tcp_socket.is_some()),
            ("grpc", self.grpc.is_some()),
            ("sleep", self.sleep.is_some()),
        ];
        let mut names = set.into_iter().filter(|(_, set)| *set).map(|(name, _)| name);
        match names.next() {
            None => errors.required(at, "must specify a handler type"),
            Some(first) => self.validate_action(first, context, &at.child(first), errors),
        }
        for name in names {
            errors.forbidden(&at.child(name), "may not specify more than 1 handler type");
        }
    }

    fn validate_action(&self, name: &str, context: &Context, at: &Path, errors: &mut ErrorList) {
        match (name, self.http_get, self.tcp_socket, self.grpc, self.sleep) {
            ("exec", ..) if self.exec.is_some_and(|e| list(&e.command).is_empty()) => {
                errors.required(&at.child("command"), "");
            }
            ("httpGet", Some(action), ..) => validate_http_get(action, at, errors),
            ("tcpSocket", _, Some(action), ..) => {
                validate_port(&action.port, &at.child("port"), errors)
            }
            ("grpc", _, _, Some(action), _) => {
                validate_port(&IntOrString::Int(action.port), &at.child("port"), errors);
            }
            ("sleep", _, _, _, Some(action)) => validate_sleep(action, context, at, errors),
            _ => {}
        }
    }
}

fn validate_http_get(action: &HTTPGetAction, at: &Path, errors: &mut ErrorList) {
    errors.non_empty(&at.child("path"), text(&action.path));
    validate_port(&action.port, &at.child("port"), errors);
    let scheme = text(&action.scheme);
    if !SCHEMES.contains(&scheme) {
        errors.not_supported(&at.child("scheme"), scheme, SCHEMES);
    }
    for header in list(&action.http_headers) {
        errors.invalid_all(
            &at.child("httpHeaders"),
            &header.name,
            names::is_http_header_name(&header.name),
        );
    }
}

fn validate_sleep(action: &SleepAction, context: &Context, at: &Path, errors: &mut ErrorList) {
    let Some(grace) = context.grace.filter(|grace| !(0..=*grace).contains(&action.seconds)) else {
        return;
    };
    let detail =
        format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
    errors.invalid(at, action.seconds, detail);
}

/// A port by number or by name.
pub(crate) fn validate_port(port: &IntOrString, at: &Path, errors: &mut ErrorList) {
    match port {
        IntOrString::Int(number) => {
            errors.invalid_all(at, *number, names::is_valid_port_number((*number).into()));
        }
        IntOrString::String(name) => errors.invalid_all(at, name, names::is_valid_port_name(name)),
    }
}

const LINUX_SIGNALS: &[&str] = &[
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGRTMAX",
    "SIGRTMAX-1",
    "SIGRTMAX-10",
    "SIGRTMAX-11",
    "SIGRTMAX-12",
    "SIGRTMAX-13",
    "SIGRTMAX-14",
    "SIGRTMAX-2",
    "SIGRTMAX-3",
    "SIGRTMAX-4",
    "SIGRTMAX-5",
    "SIGRTMAX-6",
    "SIGRTMAX-7",
    "SIGRTMAX-8",
    "SIGRTMAX-9",
    "SIGRTMIN",
    "SIGRTMIN+1",
    "SIGRTMIN+10",
    "SIGRTMIN+11",
    "SIGRTMIN+12",
    "SIGRTMIN+13",
    "SIGRTMIN+14",
    "SIGRTMIN+15",
    "SIGRTMIN+2",
    "SIGRTMIN+3",
    "SIGRTMIN+4",
    "SIGRTMIN+5",
    "SIGRTMIN+6",
    "SIGRTMIN+7",
    "SIGRTMIN+8",
    "SIGRTMIN+9",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];
