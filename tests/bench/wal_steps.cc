namespace forebay::bench { void AddWalSteps() {} }
