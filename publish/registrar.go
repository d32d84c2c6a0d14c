package publish

import (
	"context"
	"crypto/ecdh"
	"fmt"
	"strings"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

var errAppKey = fmt.Errorf("%w: an application server key is an uncompressed point on P-256, 65 bytes", edition.ErrMalformed)

// registrar is the server's own: registrations live in its store, endpoints
// are sealed.
type registrar struct {
	keys  *Keyring
	base  string
	store edition.Store
}

// NewRegistrar returns the registrar of a server, which asks nobody above.
// publicURL is what app servers reach it by, such as https://push.example.
func NewRegistrar(keys *Keyring, publicURL string, store edition.Store) edition.Registrar {
	return &registrar{keys: keys, base: endpointBase(publicURL), store: store}
}

// endpointBase is what stands before an endpoint's token.
func endpointBase(publicURL string) string {
	return strings.TrimRight(publicURL, "/") + wire.PathEndpoint
}

func (r *registrar) Register(ctx context.Context, reg edition.Registration) (string, error) {
	if reg.AppKey != nil {
		if _, err := ecdh.P256().NewPublicKey(reg.AppKey); err != nil {
			return "", errAppKey
		}
	}
	if err := r.store.Register(ctx, reg); err != nil {
		return "", err
	}
	if reg.AppKey != nil {
		return r.base + r.keys.SealFor(reg.Key, reg.AppKey), nil
	}
	return r.base + r.keys.Seal(reg.Key), nil
}

func (r *registrar) Unregister(ctx context.Context, k edition.Key) error {
	return r.store.Unregister(ctx, k)
}

func (r *registrar) Claim(context.Context, []edition.Credential, edition.Owner) ([]edition.UAID, error) {
	return nil, nil
}

func (r *registrar) Present([]edition.Agent) {}
