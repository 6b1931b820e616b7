package mptcpclient

// Namespace runs fn on a thread inside a network namespace and returns fn's
// error: sockets that fn makes stay in that namespace, whoever uses them later.
// nil is the caller's own namespace.
type Namespace func(fn func() error) error

func (ns Namespace) do(fn func() error) error {
	if ns == nil {
		return fn()
	}
	return ns(fn)
}
