package webpush

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// What is written into and around an encrypted message (RFC 8188, section 2,
// and RFC 8291, sections 3.4 and 4).
const (
	saltSize   = 16
	recordSize = 4096 // declared; a message is one record and may be shorter
	lastRecord = 2    // ends the plaintext of the last record
)

// Encrypt returns plaintext for one user agent in the content coding
// aes128gcm (RFC 8291), with a key and a salt of this message alone. ua and auth
// are its subscription's p256dh and auth.
func Encrypt(plaintext []byte, ua *ecdh.PublicKey, auth []byte) ([]byte, error) {
	own, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails
	return seal(plaintext, ua, auth, own, salt)
}

func seal(plaintext []byte, ua *ecdh.PublicKey, auth []byte, own *ecdh.PrivateKey, salt []byte) ([]byte, error) {
	shared, err := own.ECDH(ua)
	if err != nil {
		return nil, err
	}
	public := own.PublicKey().Bytes()
	info := "WebPush: info\x00" + string(ua.Bytes()) + string(public)
	ikm, err := hkdf.Key(sha256.New, shared, auth, info, 32)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, saltSize+4+1+len(public)+len(plaintext)+1+gcm.Overhead())
	out = append(out, salt...)
	out = binary.BigEndian.AppendUint32(out, recordSize)
	out = append(out, byte(len(public)))
	out = append(out, public...)
	return gcm.Seal(out, nonce, append(slices.Clip(plaintext), lastRecord), nil), nil
}
