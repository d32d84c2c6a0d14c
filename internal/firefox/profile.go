package firefox

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// preferences are those of a profile. Their names are Firefox's (about:config).
func preferences(pushServer string) map[string]any {
	return map[string]any{
		"dom.push.serverURL": pushServer,

		// Push: what a person would have agreed to, and quick to come back.
		"dom.push.testing.allowInsecureServerURL":  true,   // ws://, on loopback
		"dom.push.retryBaseInterval":               1000,   // ms
		"dom.push.requestTimeout":                  60_000, // ms; machines are slow
		"permissions.default.desktop-notification": 1,

		// WebDriver BiDi would else switch push off, among others.
		"remote.prefs.recommended": false,

		// All but loopback goes to a proxy where nobody is.
		"network.proxy.type":                                          1,
		"network.proxy.http":                                          "127.0.0.1",
		"network.proxy.http_port":                                     9, // discard
		"network.proxy.ssl":                                           "127.0.0.1",
		"network.proxy.ssl_port":                                      9,
		"network.proxy.no_proxies_on":                                 "",
		"network.proxy.allow_hijacking_localhost":                     false,
		"network.proxy.failover_direct":                               false,
		"network.dns.disablePrefetch":                                 true,
		"network.prefetch-next":                                       false,
		"network.captive-portal-service.enabled":                      false,
		"network.connectivity-service.enabled":                        false,
		"network.manage-offline-status":                               false,
		"network.trr.mode":                                            5,
		"services.settings.server":                                    "data:,",
		"app.normandy.enabled":                                        false,
		"app.update.disabledForTesting":                               true,
		"browser.region.network.url":                                  "",
		"browser.safebrowsing.malware.enabled":                        false,
		"browser.safebrowsing.phishing.enabled":                       false,
		"browser.safebrowsing.downloads.enabled":                      false,
		"browser.safebrowsing.blockedURIs.enabled":                    false,
		"browser.search.update":                                       false,
		"datareporting.policy.dataSubmissionEnabled":                  false,
		"datareporting.policy.dataSubmissionPolicyBypassNotification": true,
		"datareporting.healthreport.uploadEnabled":                    false,
		"toolkit.telemetry.enabled":                                   false,
		"toolkit.telemetry.unified":                                   false,
		"toolkit.telemetry.server":                                    "",
		"extensions.update.enabled":                                   false,
		"extensions.systemAddon.update.enabled":                       false,
		"extensions.getAddons.cache.enabled":                          false,
		"media.gmp-manager.updateEnabled":                             false,

		// A blank start, without questions, however the last run ended.
		"browser.startup.page":                     0,
		"browser.startup.homepage":                 "about:blank",
		"browser.startup.homepage_override.mstone": "ignore",
		"browser.newtabpage.enabled":               false,
		"browser.shell.checkDefaultBrowser":        false,
		"browser.sessionstore.resume_from_crash":   false,
		"browser.aboutwelcome.enabled":             false,
		"startup.homepage_welcome_url":             "about:blank",
		"trailhead.firstrun.didSeeAboutWelcome":    true,
		"toolkit.startup.max_resumed_crashes":      -1,
		"toolkit.cosmeticAnimations.enabled":       false,
		"browser.tabs.unloadOnLowMemory":           false,
		"dom.ipc.processPriorityManager.enabled":   false,
		"dom.max_script_run_time":                  0,
		"dom.max_chrome_script_run_time":           0,
		"dom.ipc.processHangMonitor":               false,
		"toolkit.asyncshutdown.crash_timeout":      120_000, // ms; machines are slow
		"browser.dom.window.dump.enabled":          true,
		"devtools.console.stdout.chrome":           true,
		"dom.push.loglevel":                        "debug", // to Options.Output
	}
}

// writeProfile makes the folder a profile, or brings its preferences up to
// date: Firefox reads user.js at every start.
func writeProfile(dir, pushServer string) error {
	if err := os.MkdirAll(filepath.Join(dir, homeDir), 0o700); err != nil {
		return err
	}
	all := preferences(pushServer)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		value, err := json.Marshal(all[name])
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "user_pref(%q, %s);\n", name, value)
	}
	return os.WriteFile(filepath.Join(dir, "user.js"), []byte(text.String()), 0o600)
}

// homeDir is a folder in the profile's that the browser is told is its home:
// what it keeps besides the profile goes there.
const homeDir = "home"
