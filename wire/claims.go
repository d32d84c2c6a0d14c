package wire

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/edition-push/edition"
)

// SchemeEdition is the scheme of an Authorization header (RFC 9110 §11.6.2) that
// carries a device's claims, where there is no body for them.
const SchemeEdition = "Edition"

// MaxClaims is how many agents such a header may name: more do not fit into
// what servers and proxies take of a header.
const MaxClaims = 32

// AppendClaims appends the value of an Authorization header that names agents:
// the scheme, and their JSON list in base64url without padding.
func AppendClaims(dst []byte, agents []Agent) []byte {
	b, _ := json.Marshal(agents) // of strings
	return base64.RawURLEncoding.AppendEncode(append(dst, SchemeEdition+" "...), b)
}

// ParseClaims reads what AppendClaims writes, padded or not. Another scheme, or
// none, is ErrUnauthorized.
func ParseClaims(header string) ([]Agent, error) {
	scheme, text, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, SchemeEdition) {
		return nil, fmt.Errorf(`%w: "Authorization: Edition …" names the agents`, edition.ErrUnauthorized)
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(text), "="))
	if err != nil {
		return nil, fmt.Errorf("%w: the Authorization header is not base64url", edition.ErrMalformed)
	}
	var agents []Agent
	if err := json.Unmarshal(b, &agents); err != nil {
		return nil, jsonError(err)
	}
	switch {
	case len(agents) == 0:
		return nil, fmt.Errorf("%w: the Authorization header names no agents", edition.ErrMalformed)
	case len(agents) > MaxClaims:
		return nil, fmt.Errorf("%w: an Authorization header names at most %d agents", edition.ErrTooLarge, MaxClaims)
	}
	return agents, checkAgents(agents)
}
