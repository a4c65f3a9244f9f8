package badgerkv

func childMain() {}
