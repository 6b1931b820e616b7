package upf

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
)

// CategoryKey is the attribute that names the category of a log line.
const CategoryKey = "category"

// NewLogger is a logger with free5GC's line: time, level, "UPF" and the category
// in brackets, the message, then the attributes.
//
//	2026-01-02T15:04:05.000000Z [INFO][UPF][Main] UPF started workers=2
func NewLogger(w io.Writer, level slog.Leveler, reportCaller bool) *slog.Logger {
	return slog.New(&logHandler{out: &lockedWriter{w: w}, level: level, caller: reportCaller, category: "Main"})
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// logHandler is a slog.Handler; see [NewLogger].
type logHandler struct {
	out      *lockedWriter
	level    slog.Leveler
	caller   bool
	category string
	attrs    string // written already
	group    string // with a dot at its end, or ""
}

// Enabled is as slog.Handler has it.
func (h *logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// WithAttrs is as slog.Handler has it.
func (h *logHandler) WithAttrs(as []slog.Attr) slog.Handler {
	c := *h
	for _, a := range as {
		c.add(a)
	}
	return &c
}

// WithGroup is as slog.Handler has it.
func (h *logHandler) WithGroup(name string) slog.Handler {
	c := *h
	c.group += name + "."
	return &c
}

func (h *logHandler) add(a slog.Attr) {
	if a.Key == CategoryKey && h.group == "" {
		h.category = a.Value.String()
		return
	}
	v := a.Value.Resolve().String()
	if strings.ContainsAny(v, " \t\n\"=") {
		v = fmt.Sprintf("%q", v)
	}
	h.attrs += " " + h.group + a.Key + "=" + v
}

// Handle is as slog.Handler has it.
func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	c := *h
	r.Attrs(func(a slog.Attr) bool {
		c.add(a)
		return true
	})
	if h.caller && r.PC != 0 {
		f, _ := runtime.CallersFrames([]uintptr{r.PC}).Next()
		c.add(slog.String("caller", fmt.Sprintf("%s:%d", f.File, f.Line)))
	}
	line := fmt.Sprintf("%s [%s][UPF][%s] %s%s\n", r.Time.UTC().Format("2006-01-02T15:04:05.000000Z"), r.Level, c.category, r.Message, c.attrs)
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	_, err := io.WriteString(h.out.w, line)
	return err
}
