package main

import "context"

type demoCmd struct{}

func (c *demoCmd) Run(_ context.Context) error { return nil }
