//! One page of a browser: where it is, what it shows, and what a person does to it.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value as Json, json};

use super::wire::Wire;
use crate::wait_until;

/// How long a page may take to show something.
const SHOW_MAX: Duration = Duration::from_secs(20);

/// Keys that write nothing, with the codes that browsers give them.
const KEYS: [(&str, i64); 12] = [
    ("Enter", 13),
    ("Escape", 27),
    ("Tab", 9),
    ("ArrowRight", 39),
    ("ArrowLeft", 37),
    ("ArrowDown", 40),
    ("ArrowUp", 38),
    ("Home", 36),
    ("End", 35),
    ("PageDown", 34),
    ("PageUp", 33),
    (" ", 32),
];
/// The Shift key among the modifiers of an event.
const SHIFT: i64 = 8;

/// A page.
#[derive(Debug)]
pub struct Page {
    wire: Wire,
    session: String,
}

impl Page {
    pub(super) async fn new(wire: Wire, session: String) -> Result<Self> {
        let page = Self { wire, session };
        for method in ["Page.enable", "Runtime.enable", "Log.enable"] {
            page.call(method, json!({})).await?;
        }
        Ok(page)
    }

    /// Calls a method of the protocol.
    pub async fn call(&self, method: &str, params: Json) -> Result<Json> {
        self.wire.call(Some(&self.session), method, params).await
    }

    /// Takes the events of a method that have come.
    pub(super) fn take(&self, method: &str) -> Vec<Json> {
        self.wire.take(&self.session, method)
    }

    /// Goes to an address.
    pub async fn go(&self, url: &str) -> Result<()> {
        let gone = self.call("Page.navigate", json!({ "url": url })).await?;
        ensure!(gone["errorText"].is_null(), "{url}: {}", gone["errorText"]);
        self.until("the page is there", "document.readyState === 'complete'").await
    }

    /// Loads it anew.
    pub async fn reload(&self) -> Result<()> {
        self.eval("window.before = true").await?;
        self.call("Page.reload", json!({})).await?;
        self.until("the page is there anew", "!window.before && document.readyState === 'complete'")
            .await
    }

    /// What an expression comes to, once its promise is kept.
    pub async fn eval(&self, expression: &str) -> Result<Json> {
        let asked = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true,
            "userGesture": true,
        });
        let mut told = self.call("Runtime.evaluate", asked).await?;
        if let Some(thrown) = told.get("exceptionDetails") {
            bail!("{expression}: {}", thrown["exception"]["description"]);
        }
        Ok(told["result"]["value"].take())
    }

    /// Waits until an expression is true.
    pub async fn until(&self, what: &str, expression: &str) -> Result<()> {
        wait_until(what, SHOW_MAX, async || {
            let found = self.eval(expression).await?;
            ensure!(found == true, "{expression} is {found}; there is: {}", self.text().await?);
            Ok(())
        })
        .await
    }

    /// Waits until the page shows a text.
    pub async fn shows(&self, text: &str) -> Result<()> {
        let wanted = serde_json::to_string(text)?;
        let expression = format!("document.body.innerText.includes({wanted})");
        self.until(&format!("{text:?} is shown"), &expression).await
    }

    /// The text that a person reads.
    pub async fn text(&self) -> Result<String> {
        let text = self.eval("document.body.innerText").await?;
        Ok(text.as_str().unwrap_or_default().chars().take(2_000).collect())
    }

    /// Clicks the middle of the first element that a selector finds, once it is there to be
    /// clicked: seen, enabled, and under nothing else.
    pub async fn click(&self, selector: &str) -> Result<()> {
        let chosen = serde_json::to_string(selector)?;
        self.click_found(selector, &format!("document.querySelector({chosen})")).await
    }

    /// Clicks a button or a link by its words; of a dialog where one is open.
    pub async fn click_text(&self, text: &str) -> Result<()> {
        let wanted = serde_json::to_string(text)?;
        let found = format!(
            "[...(document.querySelector('dialog') ?? document).querySelectorAll('button, a, \
             summary')].find((one) => one.innerText.trim() === {wanted} && one.offsetParent)"
        );
        self.click_found(text, &found).await
    }

    async fn click_found(&self, what: &str, element: &str) -> Result<()> {
        let look = format!(
            "(() => {{ const one = {element}; if (!one || one.disabled) return null; \
             one.scrollIntoView({{block: 'center', behavior: 'instant'}}); \
             const box = one.getBoundingClientRect(); \
             const [x, y] = [box.x + box.width / 2, box.y + box.height / 2]; \
             const top = document.elementFromPoint(x, y); \
             return top && (one.contains(top) || top.contains(one)) ? [x, y] : null; }})()"
        );
        let place = wait_until(&format!("{what} can be clicked"), SHOW_MAX, async || {
            let place = self.eval(&look).await?;
            ensure!(place.is_array(), "it is not there; there is: {}", self.text().await?);
            Ok(place)
        })
        .await?;
        let at = |index: usize| place[index].as_f64().context("a place is two numbers");
        self.click_at(at(0)?, at(1)?, false).await
    }

    /// Clicks a place, with the Shift key where it says so.
    pub async fn click_at(&self, x: f64, y: f64, shift: bool) -> Result<()> {
        let modifiers = if shift { SHIFT } else { 0 };
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let clicks = i64::from(kind != "mouseMoved");
            let button = if clicks > 0 { "left" } else { "none" };
            let event = json!({
                "type": kind, "x": x, "y": y, "button": button, "clickCount": clicks,
                "modifiers": modifiers,
            });
            self.call("Input.dispatchMouseEvent", event).await?;
        }
        Ok(())
    }

    /// Presses a key that writes nothing.
    pub async fn press(&self, key: &str) -> Result<()> {
        self.press_with(key, 0).await
    }

    /// The same while the Shift key is held.
    pub async fn press_shift(&self, key: &str) -> Result<()> {
        self.press_with(key, SHIFT).await
    }

    async fn press_with(&self, key: &str, modifiers: i64) -> Result<()> {
        let found = KEYS.iter().find(|(name, _)| *name == key);
        let (_, code) = found.with_context(|| format!("there is no key {key:?} here"))?;
        let name = if key == " " { "Space" } else { key };
        for kind in ["rawKeyDown", "keyUp"] {
            let event = json!({
                "type": kind, "key": key, "code": name, "windowsVirtualKeyCode": code,
                "modifiers": modifiers,
            });
            self.call("Input.dispatchKeyEvent", event).await?;
            if kind == "rawKeyDown" && key == "Enter" {
                // What forms are sent by.
                let event = json!({ "type": "char", "text": "\r", "key": key, "code": name });
                self.call("Input.dispatchKeyEvent", event).await?;
            }
        }
        Ok(())
    }

    /// Writes a text where the focus is, key by key.
    pub async fn write(&self, text: &str) -> Result<()> {
        for one in text.chars() {
            let one = one.to_string();
            for kind in ["keyDown", "keyUp"] {
                let mut event = json!({ "type": kind, "key": one });
                if kind == "keyDown" {
                    event["text"] = one.clone().into();
                }
                self.call("Input.dispatchKeyEvent", event).await?;
            }
        }
        Ok(())
    }

    /// Writes a text into a field in the place of what was there.
    pub async fn fill(&self, selector: &str, text: &str) -> Result<()> {
        self.click(selector).await?;
        self.eval("document.activeElement.select()").await?;
        if text.is_empty() {
            let erase = json!({ "commands": ["deleteBackward"], "type": "rawKeyDown", "key": "" });
            self.call("Input.dispatchKeyEvent", erase).await?;
        }
        self.write(text).await
    }

    /// Chooses an option of a list by its value, once there is one.
    pub async fn choose(&self, selector: &str, value: &str) -> Result<()> {
        let (selector, value) = (json!(selector), json!(value));
        let choose = format!(
            "(() => {{ const one = document.querySelector({selector}); \
             if (![...one.options].some((option) => option.value === {value})) return false; \
             one.value = {value}; one.dispatchEvent(new Event('change', {{bubbles: true}})); \
             return true; }})()"
        );
        self.until(&format!("{value} can be chosen"), &choose).await
    }

    /// Has the page be so wide and high, as on a phone where it says so.
    pub async fn size(&self, (width, height): (u32, u32), phone: bool) -> Result<()> {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone,
        });
        self.call("Emulation.setDeviceMetricsOverride", size).await.map(drop)
    }

    /// Has the reader's system be light or dark.
    pub async fn dark(&self, dark: bool) -> Result<()> {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features })).await.map(drop)
    }

    /// Takes a picture of what is seen.
    pub async fn picture(&self, file: &Path) -> Result<()> {
        // Two frames: what was asked for last is drawn.
        let drawn =
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))";
        self.eval(drawn).await?;
        let taken = self.call("Page.captureScreenshot", json!({ "format": "png" })).await?;
        let data = taken["data"].as_str().context("a picture has data")?;
        fs::write(file, STANDARD.decode(data)?).with_context(|| format!("{}", file.display()))
    }

    /// What the page complained of since the last time: errors, and what its policy forbade. What
    /// the network did not answer is no fault of the page.
    pub fn complaints(&self) -> Vec<String> {
        let thrown = self.take("Runtime.exceptionThrown");
        let thrown = thrown.iter().map(|event| event["exceptionDetails"].to_string());
        let logged = self.take("Log.entryAdded");
        let logged = logged
            .iter()
            .map(|event| &event["entry"])
            .filter(|entry| entry["level"] == "error" && entry["source"] != "network");
        thrown.chain(logged.map(ToString::to_string)).collect()
    }
}
