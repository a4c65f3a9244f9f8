package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/countersign/countersign/examples/terminal"
)

const pagesPort = 10001 // where the pages are, if the port is free

// personas are whom the pages can play.
var personas = []terminal.Persona{
	phone("anna-phone", "Anna's phone", "anna"),
	phone("anna-tablet", "Anna's tablet", "anna"),
	{Name: "lena-phone", Title: "Lena's phone", Pages: []string{"phone"}, User: "lena"}, // makes payment codes
	phone("tom-phone", "Tom's phone", "tom"),
	phone("ida-phone", "Ida's phone", "ida"),
	phone("ida-tablet", "Ida's tablet", "ida"),
	{Name: "anna-computer", Title: "Anna at a computer", Pages: []string{"computer"}, User: "anna", Account: "acc_anna", Payee: "mer_bakery", Currency: "EUR"},
	computer("ida-laptop", "Ida's laptop", "ida"),
	computer("ida-old-pc", "Ida's old PC", "ida"),
	{Name: "desk", Title: "The desk", Pages: []string{"agent"}, Device: "desk", Account: "acc_desk", Payee: "mer_bakery", Currency: "EUR"},
	{Name: "kiosk", Title: "The kiosk", Pages: []string{"agent"}, Device: "kiosk", Account: "acc_kiosk", Payee: "mer_bakery", Currency: "EUR"},
	{Name: "bakery", Title: "The bakery's till", Pages: []string{"till"}, Device: "bakery", Payee: "mer_bakery", Currency: "EUR"},
	{Name: "bar", Title: "The bar's till", Pages: []string{"till"}, Device: "bar", Payee: "mer_bar", Currency: "EUR"},
}

func phone(name, title, user string) terminal.Persona { return deviceOf(name, title, user, "phone") }

func computer(name, title, user string) terminal.Persona {
	return deviceOf(name, title, user, "computer")
}

// deviceOf is what somebody with an account holds.
func deviceOf(name, title, user, page string) terminal.Persona {
	return terminal.Persona{
		Name: name, Title: title, Pages: []string{page}, Device: name, User: user,
		Account: "acc_" + user, Payee: "mer_bakery", Currency: "EUR",
	}
}

// startPages serves the pages that play devices, on this machine alone, and returns where
// they are.
func (w *world) startPages() (string, error) {
	edge, err := url.Parse(w.envoy.URL())
	if err != nil {
		return "", err
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", freePort(pagesPort)))
	if err != nil {
		return "", err
	}
	log := slog.New(slog.NewJSONHandler(w.paymentsLog, nil)).With("from", "pages")
	w.pages = &http.Server{
		Handler:           terminal.New(terminal.Config{Envoy: edge, Issuer: w.issuer, Personas: personas, Log: log}),
		ReadHeaderTimeout: time.Second,
	}
	go func() { _ = w.pages.Serve(listener) }() // until Close
	return "http://" + listener.Addr().String(), nil
}
