//! The panel of servers whose scenario has none of its own: it does at once what it is asked for.

use super::panel::{Kind, Panel};
use std::{sync::OnceLock, thread};

/// Its settings. It is started once and lives as long as the tests.
pub fn settings() -> [(&'static str, &'static str); 2] {
    static URL: OnceLock<String> = OnceLock::new();
    let url = URL.get_or_init(|| {
        let (sender, started) = std::sync::mpsc::channel();
        // A scenario's runtime ends with it, so the panel has a thread and a runtime of its own.
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(async {
                let panel = Panel::start(Kind::Pterodactyl).await;
                panel.set_calls_per_minute(None);
                let _ = sender.send(panel.url());
                std::future::pending::<()>().await;
            });
        });
        started.recv().expect("the panel starts")
    });
    [("IFMATCH_PANEL_URL", url), ("IFMATCH_PANEL_KEY", Panel::KEY)]
}
