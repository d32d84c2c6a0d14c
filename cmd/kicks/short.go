package kicks

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/edition-push/edition"
)

// short is how the target of one driver can be written in one word.
type short struct {
	form  string // as the help shows it
	parse func(word string) (map[string]any, error)
}

// shorts are the drivers whose targets have a short form.
func shorts() map[string]short {
	return map[string]short{
		"udp":     {"IP:PORT, or tcp://IP:PORT", address},
		"wakeup":  {"IP:PORT@NETID, or tcp://IP:PORT@NETID", address},
		"apns":    {"TOKEN, the device token in hexadecimal", field("token")},
		"fcm":     {"TOKEN, the registration token", field("token")},
		"webpush": {"URL, the endpoint of the subscription", field("endpoint")},
		"webhook": {"ID, what the receiver calls the device", field("id")},
		"mqtt":    {"CLIENT, as the topic names it", field("client")},
		"sms":     {"+NUMBER", field("msisdn")},
		"exec":    {"NAME, what the program calls the device", field("to")},
	}
}

// shortForms are the lines of the help.
func shortForms() string {
	var b strings.Builder
	all := shorts()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "  %-8s %s\n", name, all[name].form)
	}
	return b.String()
}

// expand turns what --to says into what a device would register.
func expand(name, driver, to string) (json.RawMessage, error) {
	target := make(map[string]any)
	if strings.HasPrefix(strings.TrimSpace(to), "{") {
		if err := json.Unmarshal([]byte(to), &target); err != nil {
			return nil, fmt.Errorf("%w: --to is not a JSON object: %w", edition.ErrUsage, err)
		}
	} else {
		s, ok := shorts()[driver]
		if !ok {
			return nil, fmt.Errorf("%w: --to: targets of driver %s have no short form; give a JSON object", edition.ErrUsage, driver)
		}
		var err error
		if target, err = s.parse(to); err != nil {
			return nil, fmt.Errorf("%w: --to: %w", edition.ErrUsage, err)
		}
	}
	target["driver"] = name
	return json.Marshal(target)
}

func field(key string) func(string) (map[string]any, error) {
	return func(word string) (map[string]any, error) { return map[string]any{key: word}, nil }
}

func address(word string) (map[string]any, error) {
	target := make(map[string]any)
	if proto, rest, ok := strings.Cut(word, "://"); ok {
		target["proto"], word = proto, rest
	}
	if rest, netid, ok := strings.Cut(word, "@"); ok {
		target["netid"], word = netid, rest
	}
	at, err := netip.ParseAddrPort(word)
	if err != nil {
		return nil, fmt.Errorf("%q is not an address such as 10.1.2.3:4000 or [fd00::1]:4000", word)
	}
	target["ip"], target["port"] = at.Addr().String(), at.Port()
	return target, nil
}
